"""`kpc bench extract`: what reading from Oracle costs."""

from __future__ import annotations

from collections.abc import Callable

from kpc.bench.figures import Figure


def measure_extract(*, rows: int, say: Callable[[str], None]) -> list[Figure]:
    """All figures of the extraction, for tables of `rows` rows."""
    say(f"Measuring with {rows:,} rows ...")
    return []
