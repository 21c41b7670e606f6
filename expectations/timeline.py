"""The campaign's progress and throughput over time, from its finished stage runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import accumulate

from expectations.campaign_facts import StageSeries, Timeline
from kpc.ledger import FinishedRun
from kpc.ledger.states import StageState
from kpc.stages.names import RECONCILED, STAGES

_MOST_INTERVALS = 60
_INTERVALS_S = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600, 28 * 24 * 3600)
_THROUGH = {StageState.DONE, StageState.RECONCILED, StageState.RECONCILED_WITH_EXCEPTIONS}


def timeline_of(runs: Sequence[FinishedRun], *, planned: int) -> Timeline | None:
    """At most 60 equal intervals (of 28 days at most) from the first start to the last end; None before any end.

    A run's rows are spread evenly over the time that it took. A partition has passed a stage when a run of the stage
    first ended well; for `reconciled`, every record must have been compared, not a sample.
    """
    if not runs:
        return None
    start, end = min(run.started_utc for run in runs), max(run.finished_utc for run in runs)
    span_s = max(1.0, (end - start).total_seconds())
    interval_s = next((each for each in _INTERVALS_S if span_s / each < _MOST_INTERVALS), _INTERVALS_S[-1])
    count = int(span_s // interval_s) + 1
    series = [_series(stage, runs, start, interval_s, count) for stage in STAGES]
    return Timeline(start, interval_s, planned, tuple(series))


def _series(stage: str, runs: Sequence[FinishedRun], start: datetime, interval_s: int, count: int) -> StageSeries:
    rows, through, seen = [0.0] * count, [0] * count, set()
    for run in runs:
        if run.stage != stage:
            continue
        begin_s, end_s = ((at - start) / timedelta(seconds=1) for at in (run.started_utc, run.finished_utc))
        if run.rows and (run.state in _THROUGH or stage == RECONCILED):
            _spread(rows, run.rows, begin_s / interval_s, end_s / interval_s)
        partition = (run.table_name, run.partition_key)
        if run.state in _THROUGH and partition not in seen:
            seen.add(partition)
            through[int(end_s // interval_s)] += 1
    return StageSeries(stage, tuple(round(each / interval_s, 1) for each in rows), tuple(accumulate(through)))


def _spread(rows: list[float], amount: int, begin: float, end: float) -> None:
    """Add `amount` to the intervals between `begin` and `end`, in proportion to the time in each."""
    if end <= begin:
        rows[int(end)] += amount
        return
    for at in range(int(begin), min(int(end), len(rows) - 1) + 1):
        share = (min(end, at + 1) - max(begin, at)) / (end - begin)
        rows[at] += amount * share
