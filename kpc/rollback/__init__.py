"""Undoing a partition: created records are deleted, changed ones set back to the image kept before the load."""
