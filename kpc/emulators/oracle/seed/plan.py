"""How many rows each table gets."""

from __future__ import annotations

from kpc.emulators.catalog_schema import TABLES

SMALL_SHARE = 0.2  # of all rows, at most, for the tables that are not split by month
REFERENCE_SHARE = 0.05


def rows_by_table(rows: int, months: tuple[str, ...]) -> dict[str, int]:
    """About `rows` rows in all: reference tables keep their few, the monthly tables share what the others leave.

    Between the monthly tables the proportion is that of their rows per year (header : line : payment is 1 : 2.4 : 1).
    """
    planned = {
        t.name: max(1, min(t.rows_per_year, int(rows * REFERENCE_SHARE))) for t in TABLES.values() if t.is_reference
    }
    small = {
        t.name: max(1.0, t.rows_per_year * len(months) / 12)
        for t in TABLES.values()
        if not t.is_monthly and not t.is_reference
    }
    scale = min(1.0, rows * SMALL_SHARE / sum(small.values()))
    planned |= {name: max(1, int(natural * scale)) for name, natural in small.items()}
    monthly = {t.name: t.rows_per_year for t in TABLES.values() if t.is_monthly}
    rest = max(rows - sum(planned.values()), len(months) * len(monthly))
    total = sum(monthly.values())
    planned |= {name: max(len(months), round(rest * share / total)) for name, share in monthly.items()}
    return {name: planned[name] for name in TABLES}


def rows_in_month(rows: int, months: tuple[str, ...], index: int) -> int:
    """The share of month number `index`; the earlier months take what does not divide."""
    whole, over = divmod(rows, len(months))
    return whole + (index < over)
