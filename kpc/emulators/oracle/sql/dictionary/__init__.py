"""Names and their meaning in a session, and the data dictionary and V$ views."""
