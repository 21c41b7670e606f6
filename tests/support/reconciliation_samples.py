"""Numbers of a reconciliation as `reconciled` would hand them to the expectations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from kpc.catalog.table import Table
from kpc.reconcile.comparison import Comparison

CHECKSUMS = "records with equal checksum"
FIRST_RUN_UTC = datetime(2026, 1, 31, 18, 0, tzinfo=UTC)


def agreeing(table: Table, rows: int = 1000, excepted: int = 0) -> list[Comparison]:
    """All numbers of a partition, equal on both sides; `excepted` rows are missing in the target, and listed."""
    count = Comparison(1, "rows", Decimal(rows), Decimal(rows - excepted), Decimal(excepted))
    level2 = []
    for position, measure in enumerate(table.measures, start=1):
        total, taken = Decimal(rows * position) + Decimal("0.01"), Decimal(excepted)
        level2 += [
            Comparison(2, f"{measure.column} sum", total, total - taken, taken),
            Comparison(2, f"{measure.column} average", Decimal("1.25"), Decimal("1.25")),
            Comparison(2, f"{measure.column} minimum", Decimal("-3.50"), Decimal("-3.50")),
            Comparison(2, f"{measure.column} maximum", Decimal("99.99"), Decimal("99.99")),
            replace(count, level=2, measure=f"{measure.column} non-null count"),
        ]
    return [count, *level2, replace(count, level=3, measure=CHECKSUMS)]


def changed(comparisons: Sequence[Comparison], measure: str, **values: Decimal | None) -> list[Comparison]:
    """The same numbers, except for one."""
    assert any(c.measure == measure for c in comparisons)
    return [replace(c, **values) if c.measure == measure else c for c in comparisons]  # type: ignore[arg-type]


def without(comparisons: Sequence[Comparison], measure: str) -> list[Comparison]:
    assert any(c.measure == measure for c in comparisons)
    return [c for c in comparisons if c.measure != measure]


def minutes_later(minutes: int) -> datetime:
    return FIRST_RUN_UTC + timedelta(minutes=minutes)
