"""Rows that the server reads per extracted row: ROWID ranges compared with pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kpc.bench import extraction
from kpc.bench.figures import Figure, rounded
from kpc.bench.oracle_emulator import Emulator
from kpc.bench.oracle_tables import FRAME, MIXED, MONTHS_MIXED
from kpc.bench.processes import Cost, run_function
from kpc.catalog.table import Table

CHUNKS = 20


@dataclass(frozen=True, slots=True)
class Way:
    """One way of reading a partition: rows scanned per extracted row, and wall seconds."""

    scanned: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class ScanComparison:
    """`control_totals` are the scans of the control totals query, which paging does not run and `ranges` excludes."""

    ranges: Way
    control_totals: float
    pages: Way


def measure_scans(emulator: Emulator, rows: int, folder: str, say: Callable[[str], None]) -> list[Figure]:
    """Measure both ways on a table clustered by date and on one with interleaved months."""
    clustered = _compare(emulator, FRAME, rows, folder, say)
    mixed = _compare(emulator, MIXED, rows // MONTHS_MIXED, folder, say)
    at_once = _at_once(emulator, rows, folder, say)
    name = "rows scanned per extracted row"
    most = 2.1 * MONTHS_MIXED
    return [
        Figure(f"{name}, plan and {CHUNKS} chunks, clustered by date", rounded(clustered.ranges.scanned), "<= 2.1"),
        Figure(
            f"{name}, the same with control totals",
            rounded(clustered.ranges.scanned + clustered.control_totals),
            "<= 3.1",
        ),
        Figure(f"{name}, {CHUNKS} pages by ROW_NUMBER", rounded(clustered.pages.scanned), "> 10"),
        Figure(
            f"{name}, plan and chunks, {MONTHS_MIXED} months interleaved", rounded(mixed.ranges.scanned), f"<= {most:g}"
        ),
        Figure(
            f"{name}, pages, {MONTHS_MIXED} months interleaved", rounded(mixed.pages.scanned), f"> {10 * MONTHS_MIXED}"
        ),
        Figure(f"{name}, one pass for {MONTHS_MIXED} interleaved months", rounded(at_once.scanned), "<= 3.1"),
        Figure("wall time of pages / of plan and chunks, clustered by date", _slower(clustered), "> 1"),
        Figure(f"wall time of pages / of plan and chunks, {MONTHS_MIXED} months interleaved", _slower(mixed), "> 1"),
        Figure(
            f"wall time of {MONTHS_MIXED} interleaved months one by one / in one pass",
            rounded(MONTHS_MIXED * mixed.ranges.wall_s / at_once.wall_s),
            "> 0.7",  # the emulator scans columns in memory, so the saving in disk reads is not visible
        ),
    ]


def _slower(comparison: ScanComparison) -> float:
    return rounded(comparison.pages.wall_s / comparison.ranges.wall_s)


def _compare(emulator: Emulator, table: Table, rows: int, folder: str, say: Callable[[str], None]) -> ScanComparison:
    login, name = emulator.login, table.name
    chunk_rows = -(-rows // CHUNKS)
    say(f"Scans of {name}: {CHUNKS} chunks by ROWID range, then {CHUNKS} pages ...")
    emulator.forget_scans()
    plan = run_function(extraction.plan_of, {"login": login, "table": name, "chunk_rows": chunk_rows})
    # The plan runs two queries that each read the table: the chunk boundaries and the control totals.
    one_query = emulator.rows_scanned() / 2
    chunks = run_function(
        extraction.extract_chunks, {"login": login, "table": name, "plan": plan.answer, "folder": folder}
    )
    scanned = emulator.rows_scanned() - one_query
    emulator.forget_scans()
    pages = run_function(extraction.page_partition, {"login": login, "table": name, "pages": CHUNKS})
    _check_same_rows(chunks, pages)
    extracted = int(chunks.answer)
    return ScanComparison(
        ranges=Way(scanned / extracted, plan.wall_s + chunks.wall_s),
        control_totals=one_query / extracted,
        pages=Way(emulator.rows_scanned() / extracted, pages.wall_s),
    )


def _at_once(emulator: Emulator, rows: int, folder: str, say: Callable[[str], None]) -> Way:
    """Read all months of the interleaved table in one pass, including its control totals and plan."""
    say(f"Scans of {MIXED.name}: one pass for {MONTHS_MIXED} months ...")
    emulator.forget_scans()
    given = {"login": emulator.login, "table": MIXED.name, "chunk_rows": -(-rows // CHUNKS), "folder": folder}
    cost = run_function(extraction.read_months_at_once, {**given, "months": MONTHS_MIXED})
    return Way(emulator.rows_scanned() / int(cost.answer), cost.wall_s)


def _check_same_rows(one: Cost, other: Cost) -> None:
    if one.answer != other.answer:
        raise ValueError(f"The two ways read {one.answer} and {other.answer} rows: they cannot be compared.")
