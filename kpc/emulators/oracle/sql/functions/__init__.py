"""Oracle's scalar functions, written as DuckDB SQL, and the Python functions that DuckDB calls for them."""
