"""Queries: a parsed SELECT becomes one DuckDB query, and its rows are read lazily."""
