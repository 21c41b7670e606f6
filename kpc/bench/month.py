"""`kpc bench month`: one month of sales and their lines through all four stages, reconciled in full.

Both emulators run as processes of their own and are as strict as by default. Each stage of each table is a process of
its own, as a worker's task is, so that its CPU time and its peak memory are its alone. The two tables run side by side;
the lines are not loaded before their parents are.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from kpc.bench.figures import Figure, Say, rounded
from kpc.bench.load import emulator
from kpc.bench.oracle_emulator import started_emulator
from kpc.bench.oracle_tables import MONTH
from kpc.bench.processes import run_function
from kpc.bench.scale import CHILD, CHILDREN_SHARE, PARENT, Measured
from kpc.bench.stage_partition import LOAD, RUNS, load_parents, run_part, verdict_of
from kpc.ledger.states import StageState

LINES = 9_240_000  # of the largest month, which has 3.84 million headers
HEADER = ("table", "stage", "records", "seconds", "CPU s", "us of CPU each", "peak MB")
_IN_FULL = (StageState.RECONCILED, StageState.RECONCILED_WITH_EXCEPTIONS)  # a sample has a state of its own
_TIMEOUT_S = 4 * 3_600.0
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class MonthReport:
    """What was measured; `wall_s` from the first stage's start to the last one's end, both tables side by side."""

    parts: tuple[Measured, ...]
    wall_s: float
    verdicts: Mapping[str, StageState]
    loads: tuple[float, float]  # of the machine over a minute, before and after: what else it had to do

    @property
    def records(self) -> int:
        """Records that went through all stages."""
        return sum(one.rows for one in self.parts if one.part == RUNS[-1])

    def figures(self) -> list[Figure]:
        peak = max(one.cost.peak_bytes for one in self.parts) / _MB
        in_full = sum(state in _IN_FULL for state in self.verdicts.values())
        pace = f"records per second through all stages, load of the machine {self.loads[0]:.1f} to {self.loads[1]:.1f}"
        return [
            Figure("tables reconciled, every record compared", float(in_full), f">= {len(self.verdicts)}"),
            Figure("peak memory of any process, MB", rounded(peak), "<= 500"),
            Figure(pace, rounded(self.records / self.wall_s), ">= 12,000"),
        ]

    def rows(self) -> list[tuple[str, ...]]:
        """The cells of a table for people, under `HEADER`."""
        return [
            (
                one.table,
                one.part,
                f"{one.rows:,}",
                f"{one.cost.wall_s:.0f}",
                f"{one.cost.cpu_s:.0f}",
                f"{one.cpu_us:.1f}",
                f"{one.cost.peak_bytes / _MB:.0f}",
            )
            for one in self.parts
        ]


def measure_month(*, lines: int = LINES, say: Say) -> MonthReport:
    """Take about so many lines and their sales through all stages."""
    with TemporaryDirectory(prefix="kpc-bench-") as place:
        say(f"{lines:,} lines and their sales in both emulators ...")
        with started_emulator(round(lines / CHILDREN_SHARE), MONTH) as oracle, emulator(Path(place, "org")) as org:
            where: dict[str, object] = {"folder": place, "oracle": oracle.login, "org": org}
            run_function(load_parents, where | {"table": PARENT}, timeout_s=_TIMEOUT_S)
            return _Month(where, say).run()


@dataclass
class _Month:
    """Both tables on their way. `where`: the arguments of `run_part` that all parts share."""

    where: Mapping[str, object]
    say: Say
    _measured: list[Measured] = field(default_factory=list)

    def run(self) -> MonthReport:
        load, began = os.getloadavg()[0], time.monotonic()
        gate = RUNS.index(LOAD)
        with ThreadPoolExecutor(2) as pool:
            parents = pool.submit(self._take, PARENT, RUNS[: gate + 2])
            children = pool.submit(self._take, CHILD, RUNS[:gate])
            parents.result()
            proven = pool.submit(self._take, PARENT, RUNS[gate + 2 :])
            children.result()
            self._take(CHILD, RUNS[gate:])
            proven.result()
        wall_s = time.monotonic() - began
        verdicts = {
            table: StageState(run_function(verdict_of, {**self.where, "table": table}, timeout_s=_TIMEOUT_S).answer)
            for table in (PARENT, CHILD)
        }
        return MonthReport(_in_order(self._measured), wall_s, verdicts, (load, os.getloadavg()[0]))

    def _take(self, table: str, parts: Sequence[str]) -> None:
        for part in parts:
            self._measure(table, part)

    def _measure(self, table: str, part: str) -> None:
        cost = run_function(run_part, {**self.where, "table": table, "part": part}, timeout_s=_TIMEOUT_S)
        one = Measured(table, part, int(cost.answer), cost)
        self._measured.append(one)
        self.say(
            f"  {table} {part}: {one.rows:,} records in {cost.wall_s:.0f} s, {one.cpu_us:.1f} us of CPU each, "
            f"peak {cost.peak_bytes / _MB:.0f} MB"
        )


def _in_order(measured: Sequence[Measured]) -> tuple[Measured, ...]:
    return tuple(sorted(measured, key=lambda one: ((PARENT, CHILD).index(one.table), RUNS.index(one.part))))
