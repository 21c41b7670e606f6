"""`kpc bench scale`: a parent and a child table through all four stages at three sizes; cost must grow linearly.

Both emulators run as processes of their own; each stage of each partition is a process of its own, so that its CPU time
and its peak memory are its alone. The org works on one job at a time, so that its working time is the sum of its jobs'.
It works at some ten times the pace of a real one: as fast as it can, it would compete with the load for the same cores.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from kpc.bench.figures import Figure, Say, rounded
from kpc.bench.load import emulator
from kpc.bench.oracle_emulator import started_emulator
from kpc.bench.oracle_tables import MONTH
from kpc.bench.processes import Cost, run_function
from kpc.bench.request_record import job_times
from kpc.bench.stage_partition import LOAD, PUBLISH, RUNS, load_parents, run_part

PARENT, CHILD = "KPS_T_SALES_M", "KPS_T_SALES_MD"
SIZES = (250_000, 1_000_000, 4_000_000)
CHILDREN_SHARE = 0.54  # of the seeded rows, the lines of sales
_TIMEOUT_S = 3_600.0
_ORG_ROWS_PER_S = 20_000
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Measured:
    """One part of a stage, of one table at one size."""

    table: str
    part: str
    rows: int
    cost: Cost

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU per row."""
        return self.cost.cpu_s / self.rows * 1e6

    def as_json(self) -> dict[str, object]:
        return {
            "table": self.table,
            "part": self.part,
            "rows": self.rows,
            "wall_s": rounded(self.cost.wall_s),
            "cpu_us_per_row": rounded(self.cpu_us),
            "peak_mb": rounded(self.cost.peak_bytes / _MB),
        }


@dataclass(frozen=True, slots=True)
class ScaleReport:
    figures: list[Figure]
    measured: list[Measured]


def measure_scale(*, sizes: Sequence[int] = SIZES, say: Say) -> ScaleReport:
    """All figures, and each measurement. `sizes`: rows of the child table."""
    measured: list[Measured] = []
    pace: list[float] = []
    for size in sorted(sizes):
        say(f"{size:,} rows of {CHILD}, their parents in {PARENT} ...")
        for one in _measure_size(size, pace):
            measured.append(one)
            say(
                f"  {one.table} {one.part}: {one.rows:,} rows in {one.cost.wall_s:.1f} s, {one.cpu_us:.1f} us of CPU "
                f"per row, peak {one.cost.peak_bytes / _MB:.0f} MB"
            )
    return ScaleReport([*_growth(measured), *_limits(measured), _pace(pace)], measured)


def _measure_size(size: int, pace: list[float]) -> Iterator[Measured]:
    """Every part of both tables. Adds to `pace` how long the child's load took per second of the org's work."""
    with TemporaryDirectory(prefix="kpc-bench-") as place:
        folder = Path(place)
        with (
            started_emulator(round(size / CHILDREN_SHARE), MONTH) as oracle,
            emulator(folder / "org", workers=1, rows_per_s=str(_ORG_ROWS_PER_S)) as org,
        ):
            where: dict[str, object] = {"folder": place, "oracle": oracle.login, "org": org}
            run_function(load_parents, where | {"table": PARENT}, timeout_s=_TIMEOUT_S)
            for table in (PARENT, CHILD):
                before, load_s = _worked_s(org), 0.0
                for part in RUNS:
                    cost = run_function(run_part, where | {"table": table, "part": part}, timeout_s=_TIMEOUT_S)
                    load_s += cost.wall_s if part in {LOAD, PUBLISH} else 0.0
                    yield Measured(table, part, int(cost.answer), cost)
                if table == CHILD:
                    pace.append(load_s / max(_worked_s(org) - before, 1e-9))


def _worked_s(org: Mapping[str, str]) -> float:
    """Seconds that the org has worked on jobs."""
    deadline = time.monotonic() + 60
    while True:
        jobs = job_times(org["base_url"])
        if all(job["ended"] for job in jobs) or time.monotonic() > deadline:
            return float(sum(job["ended"] - job["started"] for job in jobs if job["ended"]))
        time.sleep(0.2)


def _growth(measured: Sequence[Measured]) -> Iterator[Figure]:
    """Of each part, the slope at the largest sizes against that at the smallest: 1 is a straight line.

    A slope is the CPU time of one more row, without what a process costs whatever it reads.
    """
    for table in (PARENT, CHILD):
        for part in RUNS:
            sizes = _sizes(measured, table, part)
            steep, flat = _slope_us(*sizes[-2:]), _slope_us(*sizes[:2])
            name = f"{table} {part}: {steep:.1f} us of CPU for one more row; that / the same at fewer rows"
            yield Figure(name, rounded(steep / max(flat, 1e-9)), "<= 1.3")


def _sizes(measured: Sequence[Measured], table: str, part: str) -> list[Measured]:
    return [one for one in measured if (one.table, one.part) == (table, part)]


def _slope_us(small: Measured, large: Measured) -> float:
    return (large.cost.cpu_s - small.cost.cpu_s) / max(1, large.rows - small.rows) * 1e6


def _limits(measured: Sequence[Measured]) -> Iterator[Figure]:
    peak = max(one.cost.peak_bytes for one in measured) / _MB
    yield Figure("peak memory of any part in MB", rounded(peak), "<= 500")
    bookkeeping = _slope_us(*_sizes(measured, CHILD, PUBLISH)[-2:])
    yield Figure("bookkeeping of a load, microseconds of CPU for one more row", rounded(bookkeeping), "<= 10")


def _pace(pace: Sequence[float]) -> Figure:
    return Figure("load of the largest child, wall time / the org's working time", rounded(pace[-1]), "<= 1.15")
