"""Measuring a sealed extract takes no more memory for a large partition than for a small one."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from kpc.catalog import find_table
from kpc.extract.control_totals import added_up, measure_extract, measure_rows
from kpc.extract.live_schema import arrow_schema
from kpc.storage.parquet_file import ExtractParquet
from kpc.storage.store import FileEntry

LINES = find_table("KPS_T_SALES_MD")
FILE_ROWS, GROUP_ROWS = 250_000, 5_000

_MEASURE = """
import sys
from pathlib import Path
from kpc.catalog import find_table
from kpc.extract.control_totals import measure_extract
from kpc.storage.store import FileEntry
folder, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
def peak_kb():  # of this program alone; ru_maxrss is inherited from the one that started it
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1])
before = peak_kb()
chunks = [FileEntry(name=f"{name}-{number}.parquet", rows=0, bytes=0, sha256="") for number in range(count)]
totals = measure_extract(folder, chunks, find_table("KPS_T_SALES_MD"))
print(totals.rows, peak_kb() - before)
"""


def _rows(rows: int, first: int = 0) -> pl.DataFrame:
    """Rows in which every amount is different and every key its number."""
    number = pl.int_range(first, first + rows, dtype=pl.Int64)
    empty = pl.DataFrame(arrow_schema(LINES).empty_table())
    amounts = {
        name: (number * (at + 1) % 1_000_003).cast(dtype) if dtype.is_decimal() else None
        for at, (name, dtype) in enumerate(empty.schema.items())
    }
    filled = [
        (pl.lit(None, dtype=dtype) if amounts[name] is None else amounts[name]).alias(name)
        for name, dtype in empty.schema.items()
    ]
    return pl.select(number.alias("number")).select(filled)


def _write(path: Path, rows: int, first: int = 0) -> FileEntry:
    with ExtractParquet(path, arrow_schema(LINES)) as file:
        for part in _rows(rows, first).iter_slices(GROUP_ROWS):
            file.write(part)
        return file.close()


def test_slices_add_up_to_the_same_totals(tmp_path: Path) -> None:
    """Files, row groups and slices do not matter: sums, extremes and counts are those of all rows together."""
    sizes = (70_000, 1, 12_345)
    chunks, whole, first = [], [], 0
    for number, rows in enumerate(sizes):
        chunks.append(_write(tmp_path / f"chunk-{number}.parquet", rows, first))
        whole.append(_rows(rows, first))
        first += rows
    found = measure_extract(tmp_path, chunks, LINES)
    assert found == measure_rows(pl.concat(whole), LINES)
    assert found.rows == sum(sizes)
    assert (found.measures[0].min, found.measures[0].count) == (Decimal(0), sum(sizes))


def test_an_empty_extract_has_totals(tmp_path: Path) -> None:
    """No file, and a file without rows, are measured as nothing."""
    nothing = measure_extract(tmp_path, (), LINES)
    assert nothing.rows == 0
    assert measure_extract(tmp_path, [_write(tmp_path / "chunk-1.parquet", 0)], LINES) == added_up([nothing])


@pytest.mark.timeout(300)
def test_memory_does_not_grow_with_the_partition(tmp_path: Path) -> None:
    """Twelve files of a quarter of a million lines take what two of them take, and less than 160 MB.

    Scanning all files at once took 104 MB for two of them and 208 MB for twelve.
    """
    _write(tmp_path / "chunk-0.parquet", FILE_ROWS)
    for number in range(1, 12):
        os.link(tmp_path / "chunk-0.parquet", tmp_path / f"chunk-{number}.parquet")
    grown = {count: _grown_mb(tmp_path, count) for count in (2, 12)}
    assert grown[12] < 160, grown
    assert grown[12] < 1.25 * grown[2] + 10, grown


def _grown_mb(folder: Path, count: int) -> float:
    command = [sys.executable, "-c", _MEASURE, str(folder), "chunk", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  our own program
    rows, grown_kb = map(int, done.stdout.split())
    assert rows == count * FILE_ROWS
    return grown_kb / 1000
