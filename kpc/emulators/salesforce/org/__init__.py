"""The org itself: identity, clock, allowances, schema, and the DuckDB storage of its records."""
