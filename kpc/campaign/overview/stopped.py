"""Partitions whose next stage never started: an event that reaches a paused DAG is lost, and nothing else shows it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Protocol

from kpc.ledger.states import StageState
from kpc.stages.names import STAGES

STARTS_WITHIN = timedelta(minutes=2)  # in Airflow the next stage starts some seconds after the event
_ACTIVE = (StageState.RUNNING, StageState.WAITING, StageState.ROLLED_BACK)


class StartedRun(Protocol):
    """The attributes of a stage run that are needed here."""

    @property
    def state(self) -> StageState: ...
    @property
    def started_utc(self) -> datetime: ...
    @property
    def finished_utc(self) -> datetime | None: ...


def stopped_between(
    runs: Mapping[str, StartedRun], now: datetime, *, after: timedelta = STARTS_WITHIN
) -> tuple[str, str] | None:
    """The last finished stage of a partition and the one that should have started since; None if all is well.

    `runs` has the newest run of each stage that was ever begun.
    """
    if any(run.state in _ACTIVE for run in runs.values()):
        return None
    for done, following in pairwise(STAGES):
        run, later = runs.get(done), runs.get(following)
        if run is None or run.state is not StageState.DONE or run.finished_utc is None:
            continue
        if now - run.finished_utc >= after and (later is None or later.started_utc < run.started_utc):
            return done, following
    return None
