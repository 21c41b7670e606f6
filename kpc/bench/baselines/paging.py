"""Chunking by page, the usual way: number the rows, then read rows m to n."""

from __future__ import annotations

from typing import Any

import oracledb


def read_pages(*, connect: dict[str, Any], rows_of: str, columns: str, binds: dict[str, Any], pages: int) -> int:
    """Read `rows_of` (FROM and WHERE of a query) in `pages` equal pages by ROWID. Returns the number of rows."""
    with oracledb.connect(**connect) as connection, connection.cursor() as cursor:
        (total,) = cursor.execute(f"SELECT COUNT(*) {rows_of}", binds).fetchone()
        size = -(-total // pages)
        numbered = f"SELECT {columns}, ROW_NUMBER() OVER (ORDER BY ROWID) AS row_no {rows_of}"
        page = f"SELECT {columns} FROM ({numbered}) WHERE row_no BETWEEN :first_row AND :last_row"  # noqa: S608  as above
        rows = 0
        for first in range(1, total + 1, size):
            bounds = {"first_row": first, "last_row": first + size - 1}
            frames = connection.fetch_df_batches(page, {**binds, **bounds}, size=size, fetch_decimals=True)
            rows += sum(frame.num_rows() for frame in frames)
    return rows
