"""Rolling back a partition: created records are deleted, updated ones restored to their pre-image."""
