"""Bulk API 2.0: ingest and query jobs, the threads that process them, and their result files."""
