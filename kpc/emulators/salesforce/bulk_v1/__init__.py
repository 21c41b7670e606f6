"""Bulk API 1.0: jobs and batches of CSV or JSON, for loaders that have not moved to 2.0."""
