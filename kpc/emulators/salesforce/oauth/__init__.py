"""Sessions: the OAuth flows, the SOAP login, and who the user of a token is."""
