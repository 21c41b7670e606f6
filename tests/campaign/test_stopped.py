"""Partitions that stopped between two stages, according to the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ledger_samples import JANUARY, SANDBOX, SUPPLIERS

from kpc.campaign.stopped import stopped_partitions
from kpc.ledger import Ledger, open_ledger
from kpc.ledger.states import StageState
from kpc.partition import Partition
from kpc.stages.names import ORACLE_EXTRACT, SF_LOADED, STAGED_CSV


class _Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: _Clock) -> Iterator[Ledger]:
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}", clock=clock)
    yield opened
    opened.close()


def ran(ledger: Ledger, partition: Partition, stage: str, *, state: StageState = StageState.DONE) -> None:
    lease = ledger.leases.acquire(SANDBOX, partition, stage, owner="r", ttl_s=60, wait_s=0)
    number = ledger.stages.start(
        SANDBOX,
        partition,
        stage,
        generation=None,
        mapping_version=None,
        run_id="r",
        actor="a",
        mode="full",
        lease=lease,
    )
    if state is not StageState.RUNNING:
        ledger.stages.finish(number, state=state, rows=1, bytes=1, detail={}, lease=lease)
    ledger.leases.release(lease)


def found(ledger: Ledger) -> list[tuple[str, str, str]]:
    gaps = stopped_partitions(ledger, SANDBOX)
    return [(str(gap.partition), gap.done.stage, gap.following) for gap in gaps]


def test_a_stage_that_does_not_begin_is_found_after_a_while(ledger: Ledger, clock: _Clock) -> None:
    """Not within the first two minutes, in which Airflow starts it; in load order, and only the first gap."""
    ran(ledger, JANUARY, ORACLE_EXTRACT)
    ran(ledger, SUPPLIERS, ORACLE_EXTRACT)
    ran(ledger, SUPPLIERS, STAGED_CSV)
    clock.now += timedelta(minutes=1)
    assert found(ledger) == []
    clock.now += timedelta(minutes=2)
    assert found(ledger) == [
        (str(SUPPLIERS), STAGED_CSV, SF_LOADED),
        (str(JANUARY), ORACLE_EXTRACT, STAGED_CSV),
    ]


def test_a_stage_at_work_has_not_stopped(ledger: Ledger, clock: _Clock) -> None:
    """A load in Airflow is recorded when it is published; until then its lease shows that it is running."""
    ran(ledger, SUPPLIERS, STAGED_CSV)
    clock.now += timedelta(minutes=10)
    lease = ledger.leases.acquire(SANDBOX, SUPPLIERS, SF_LOADED, owner="load", ttl_s=60, wait_s=0)
    assert found(ledger) == []
    clock.now += timedelta(minutes=2)  # its holder is dead, or waits for something
    assert found(ledger) == [(str(SUPPLIERS), STAGED_CSV, SF_LOADED)]
    ledger.leases.release(lease)


@pytest.mark.parametrize("state", [StageState.RUNNING, StageState.WAITING, StageState.FAILED])
def test_a_stage_that_began_has_not_stopped(ledger: Ledger, clock: _Clock, state: StageState) -> None:
    """It is running, waiting, or failed, which is shown elsewhere."""
    ran(ledger, JANUARY, ORACLE_EXTRACT)
    ran(ledger, JANUARY, STAGED_CSV, state=state)
    clock.now += timedelta(hours=1)
    assert found(ledger) == []


def test_a_repeated_stage_expects_its_next_one_again(ledger: Ledger, clock: _Clock) -> None:
    ran(ledger, JANUARY, ORACLE_EXTRACT)
    ran(ledger, JANUARY, STAGED_CSV)
    clock.now += timedelta(hours=1)
    ran(ledger, JANUARY, ORACLE_EXTRACT)
    clock.now += timedelta(hours=1)
    assert found(ledger) == [(str(JANUARY), ORACLE_EXTRACT, STAGED_CSV)]
