"""The org itself: identity, clock, allowances, schema, jobs, and the DuckDB storage of its records."""
