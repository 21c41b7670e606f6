"""The REST API: describe, single rows, collections, composite requests, queries, limits."""
