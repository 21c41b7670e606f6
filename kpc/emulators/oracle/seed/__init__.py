"""The KPS schema with made-up rows: deterministic for a seed, valid except what is planted."""

from __future__ import annotations

from kpc.emulators.oracle.seed.faults import BadRow, planted_bad_rows
from kpc.emulators.oracle.seed.fill import Layout, fill
from kpc.emulators.oracle.seed.plan import rows_by_table

__all__ = ["BadRow", "Layout", "fill", "planted_bad_rows", "rows_by_table"]
