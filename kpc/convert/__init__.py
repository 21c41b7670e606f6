"""Value conversion rules as polars expressions, the canonical text of a row, and the CSV writer."""
