"""CREATE, ALTER, DROP and the other statements that change the schema or the users."""
