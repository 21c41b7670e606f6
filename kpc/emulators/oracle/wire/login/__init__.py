"""From the first byte of a connection to a logged-in session: CONNECT, protocol negotiation, O5LOGON."""
