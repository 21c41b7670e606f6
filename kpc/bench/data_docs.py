"""What the Data Docs cost: one validation, and one more result in the site of a whole campaign."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median

from expectations import build_data_docs, validate
from expectations.loading import import_great_expectations
from kpc.bench.figures import Figure, rounded
from kpc.catalog import TABLES
from kpc.catalog.table import Table
from kpc.partition import month_keys
from kpc.reconcile.comparison import Comparison

PARTITIONS = 500
_NEW_RESULTS = 5
_FIRST_MONTH = "2005-01"
_NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def measure_data_docs(folder: Path, partitions: int = PARTITIONS) -> list[Figure]:
    """The median CPU time of a validation, and of a build with one new result in a site of so many partitions.

    The partitions are months of the monthly tables in turn, with every number of the catalog. The import of Great
    Expectations is not part of either figure. Both wait for nothing but their files, so that on an idle machine they
    take as long. `folder` must be empty.
    """
    import_great_expectations()
    tables = [table for table in TABLES.values() if table.is_monthly]
    months = month_keys(_FIRST_MONTH, -(-partitions // len(tables)))
    names = [(table, month) for month in months for table in tables][:partitions]
    seconds = [_validated(folder, *names[at], minute=at) for at in range(len(names))]
    build_data_docs(folder)
    builds = []
    for at in range(_NEW_RESULTS):
        _validated(folder, *names[at], minute=partitions + at)
        builds.append(_seconds_of_build(folder))
    return [
        Figure("validation of a partition, CPU ms", rounded(1000 * median(seconds[len(tables) :])), "<= 25"),
        Figure(f"one result into the Data Docs of {partitions} partitions, CPU s", rounded(median(builds)), "<= 0.3"),
    ]


def _validated(folder: Path, table: Table, key: str, *, minute: int) -> float:
    """Validate a partition whose numbers agree; returns the CPU seconds it took."""
    numbers = _numbers(table)
    began = time.process_time()
    agrees = validate(
        table,
        key,
        numbers,
        run_name=f"{table.name}__{key}__{minute}",
        root=folder,
        facts={"SCN": str(minute)},
        clock=lambda: _NOON + timedelta(minutes=minute),
    )
    seconds = time.process_time() - began
    if not agrees:
        raise AssertionError(f"The made-up numbers of {table.name} do not agree.")
    return seconds


def _numbers(table: Table) -> Sequence[Comparison]:
    rows = Decimal(3_840_000)
    sums = [
        Comparison(2, f"{measure.column} {aggregate}", Decimal("123456789.25"), Decimal("123456789.25"))
        for measure in table.measures
        for aggregate in ("sum", "average", "minimum", "maximum", "non-null count")
    ]
    return [Comparison(1, "rows", rows, rows), *sums, Comparison(3, "records with equal checksum", rows, rows)]


def _seconds_of_build(folder: Path) -> float:
    began = time.process_time()
    build_data_docs(folder)
    return time.process_time() - began
