"""The demo's display: a live grid of tables and stages on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from kpc.catalog import Table
from kpc.demo.campaign import Progress
from kpc.demo.summary import DemoSummary
from kpc.partition import Partition
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, SF_LOADED, STAGED_CSV, STAGES

LINE_EVERY_S = 10.0
_LOG_WIDTH = 190  # characters per line in a log file, wide enough that nothing is cut
_WIDE = 150  # characters that the full summary needs
_SHORT = {ORACLE_EXTRACT: "extracted", STAGED_CSV: "staged", SF_LOADED: "loaded", RECONCILED: "reconciled"}
_MARK = {"pass": "+", "fail": "x", "skipped": "-"}
_STATE_STYLE = {"reconciled": "green", "reconciled_with_exceptions": "yellow"}


class Screen:
    """Prints progress on stderr; stdout is for the result."""

    def __init__(self) -> None:
        self.is_live = sys.stderr.isatty()
        self.console = Console(stderr=True, highlight=False, width=None if self.is_live else _LOG_WIDTH)
        self._live: Live | None = None
        self._next_line_s = 0.0
        self._reported: set[tuple[Partition, str]] = set()
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close_grid()

    def say(self, text: str) -> None:
        elapsed = time.monotonic() - self._began
        self.console.print(f"[{elapsed:4.0f} s] {text}", markup=False, soft_wrap=True)

    def show(self, progress: Progress) -> None:
        """Show the current state: new failures immediately, the rest in the live grid or every ten seconds."""
        for place, failure in progress.failures.items():
            if place not in self._reported:
                self._reported.add(place)
                partition, stage = place
                self.say(f"FAILED {partition} {stage}: {failure.reason}\n         {failure.page}")
        if self.is_live:
            if self._live is None:
                self._live = Live(console=self.console, refresh_per_second=2)
                self._live.start()
            self._live.update(grid(progress))
        elif progress.elapsed_s >= self._next_line_s or progress.is_over:
            self._next_line_s = progress.elapsed_s + LINE_EVERY_S
            self.say(line(progress))

    def close_grid(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show_summary(self, summary: DemoSummary) -> None:
        wide = self.console.width >= _WIDE
        self.console.print(summary_grid(summary) if wide else narrow_summary(summary))


def grid(progress: Progress) -> Grid:
    """One row per table, one column per stage: partitions done out of all, and rows."""
    made = Grid(title=_totals(progress), title_justify="left", header_style="bold", expand=False)
    made.add_column("table", no_wrap=True)
    for stage in STAGES:
        made.add_column(_SHORT[stage], justify="right", no_wrap=True)
    for table in progress.tables:
        made.add_row(table.name, *(_cell(progress, table, stage) for stage in STAGES))
    return made


def line(progress: Progress) -> str:
    """The same progress in one line."""
    total = len(progress.partitions)
    parts = [f"{_SHORT[stage]} {_done(progress, stage)}/{total}" for stage in STAGES]
    return f"partitions: {', '.join(parts)}; {_totals(progress)}"


def summary_grid(summary: DemoSummary) -> Grid:
    made = Grid(title="Summary", title_justify="left", header_style="bold")
    counts = ("partitions", "extracted", "staged", "unchanged", "rejected", "loaded", "failed")
    made.add_column("table", no_wrap=True)
    for name in counts:
        made.add_column(name, justify="right")
    for name in ("level 1", "level 2", "level 3", "state"):
        made.add_column(name)
    made.add_column("seconds", justify="right")
    made.add_column("records/s", justify="right")
    for table in summary.tables:
        made.add_row(
            table.table,
            *(f"{getattr(table, name):,}" for name in counts),
            *(table.level1, table.level2, table.level3),
            Text(table.state.replace("_", " "), style=_STATE_STYLE.get(table.state, "bold red")),
            *(f"{table.seconds:,.1f}", f"{table.records_per_s:,.0f}"),
        )
    made.add_section()
    totals = (f"{sum(getattr(table, name) for table in summary.tables):,}" for name in counts)
    loaded = sum(table.loaded for table in summary.tables)
    rate = f"{loaded / summary.seconds:,.0f}" if summary.seconds else ""
    made.add_row("all", *totals, "", "", "", "", f"{summary.seconds:,.1f}", rate)
    return made


def narrow_summary(summary: DemoSummary) -> Grid:
    """The summary in 80 columns: rows extracted, loaded and refused, and the reconciliation result."""
    made = Grid(title="Summary", title_justify="left", header_style="bold", box=None, padding=(0, 1), pad_edge=False)
    made.add_column("table", no_wrap=True)
    for name in ("extracted", "loaded", "refused"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("levels", no_wrap=True)
    made.add_column("state", no_wrap=True)
    made.add_column("s", justify="right", no_wrap=True)
    for table in summary.tables:
        state = "exceptions" if table.state == "reconciled_with_exceptions" else table.state
        made.add_row(
            table.table,
            *(f"{rows:,}" for rows in (table.extracted, table.loaded, table.rejected + table.failed)),
            " ".join(_MARK[verdict] for verdict in (table.level1, table.level2, table.level3)),
            Text(state, style=_STATE_STYLE.get(table.state, "bold red")),
            f"{table.seconds:,.0f}",
        )
    return made


def _cell(progress: Progress, table: Table, stage: str) -> Text:
    partitions = progress.of_table(table)
    done = sum(progress.has_done(partition, stage) for partition in partitions)
    rows = sum(_rows(progress, partition, stage) for partition in partitions)
    if any((partition, stage) in progress.failures for partition in partitions):
        return Text("failed", style="bold red")
    if done == len(partitions):
        return Text(f"{rows:,}", style="green")
    if rows or any((partition, stage) in progress.runs for partition in partitions):
        at = f" {done}/{len(partitions)}" if len(partitions) > 1 else ""
        return Text(f"{rows:,}{at} ..." if rows else f"...{at}", style="yellow")
    return Text("")


def _rows(progress: Progress, partition: Partition, stage: str) -> int:
    booked = progress.stages.get((partition, stage))
    return (booked.rows or 0) if booked is not None else 0


def _done(progress: Progress, stage: str) -> int:
    return sum(progress.has_done(partition, stage) for partition in progress.partitions)


def _totals(progress: Progress) -> str:
    loaded = sum(_rows(progress, partition, SF_LOADED) for partition in progress.partitions)
    rate = loaded / progress.elapsed_s if progress.elapsed_s else 0.0
    return f"{loaded:,} records loaded in {progress.elapsed_s:,.0f} s ({rate:,.0f} records/s)"
