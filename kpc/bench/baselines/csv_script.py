"""The script that a typical engineer writes first: a cursor, tuples, the csv module and gzip."""

from __future__ import annotations

import csv
import gzip
from typing import Any

import oracledb


def export_csv(*, connect: dict[str, Any], statement: str, binds: dict[str, Any], path: str) -> int:
    """Write all rows of the query as gzipped CSV with a header line. Returns the number of rows."""
    rows = 0
    with (
        oracledb.connect(**connect) as connection,
        connection.cursor() as cursor,
        gzip.open(path, "wt", encoding="utf-8", newline="") as file,
    ):
        cursor.arraysize = 10_000
        cursor.execute(statement, binds)
        writer = csv.writer(file)
        writer.writerow([column[0] for column in cursor.description])
        for row in cursor:
            writer.writerow(row)
            rows += 1
    return rows
