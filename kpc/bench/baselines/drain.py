"""The driver's work alone: fetch Arrow batches and discard them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import oracledb
import pyarrow as pa

Query = tuple[str, dict[str, Any]]  # a statement and its binds


def drain(
    *, connect: dict[str, Any], queries: Sequence[Query], schema: pa.Schema, fetch_rows: int, sessions: int
) -> int:
    """Read all queries in parallel sessions with exact types, as an extract does. Returns the number of rows."""

    def rows_of(query: Query) -> int:
        with oracledb.connect(**connect) as connection:
            text, binds = query
            frames: Iterable[Any] = connection.fetch_df_batches(
                text, binds, size=fetch_rows, fetch_decimals=True, requested_schema=schema
            )
            return sum(frame.num_rows() for frame in frames)

    with ThreadPoolExecutor(sessions) as pool:
        return sum(pool.map(rows_of, queries))
