"""What the database holds: tables with their versions, ROWIDs, users and grants, and how many rows were read."""
