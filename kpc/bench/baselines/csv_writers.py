"""A frame written as gzip CSV by pandas and by DuckDB. Both functions return the seconds that writing took."""

from __future__ import annotations

import time
from pathlib import Path


def write_with_pandas(source: str, folder: str) -> float:
    """`DataFrame.to_csv(compression="gzip")` of a frame already in memory."""
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415  each writer's process loads its own package only

    frame = pd.read_parquet(source)
    began = time.perf_counter()
    frame.to_csv(Path(folder, "pandas.csv.gz"), index=False, compression="gzip")
    return time.perf_counter() - began


def write_with_duckdb(source: str, folder: str) -> float:
    """`COPY ... (COMPRESSION gzip)` of a table already in memory."""
    import duckdb  # noqa: PLC0415  the same

    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE frame AS SELECT * FROM read_parquet(?)", [source])
        target = str(Path(folder, "duckdb.csv.gz")).replace("'", "''")
        began = time.perf_counter()
        connection.execute(f"COPY frame TO '{target}' (FORMAT csv, HEADER, COMPRESSION gzip)")
        return time.perf_counter() - began
