"""What the database holds: tables with their versions, users and grants, and how many rows were read."""
