"""`make demo`: everything the migration needs on one machine, and a campaign to watch."""
