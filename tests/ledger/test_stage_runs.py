"""Which extract of a partition is current, and whether it is loaded."""

from __future__ import annotations

import pytest
from ledger_samples import PRODUCTION, SANDBOX, STAGE, SUPPLIERS, start_generation, take_lease

from kpc.errors import Terminal
from kpc.ledger import Ledger
from kpc.ledger.states import StageState


def test_generation_lives_from_open_to_current(ledger: Ledger) -> None:
    """An extract is resumable while open and current once sealed; a new one replaces an unfinished one."""
    lease = take_lease(ledger, "run-a")
    first = start_generation(ledger, lease, seal=False)
    found = ledger.generations.unfinished(SANDBOX, SUPPLIERS)
    assert found is not None
    assert found.id == first
    assert ledger.generations.current(SANDBOX, SUPPLIERS) is None
    second = start_generation(ledger, lease)
    assert ledger.generations.unfinished(SANDBOX, SUPPLIERS) is None
    current = ledger.generations.current(SANDBOX, SUPPLIERS)
    assert current is not None
    assert (current.id, current.ordinal, current.rows) == (second, 2, 10)
    assert ledger.generations.current(PRODUCTION, SUPPLIERS) is None
    with pytest.raises(Terminal, match="not open"):
        ledger.generations.seal(first, rows=1, raw_bytes=1, lease=lease)


def test_partition_is_loaded_only_at_its_current_generation(ledger: Ledger) -> None:
    """A new extract makes a loaded partition count as not loaded until it is loaded again."""
    lease = take_lease(ledger, "run-a")
    generation = start_generation(ledger, lease)
    run = ledger.stages.start(
        SANDBOX, SUPPLIERS, STAGE, generation=generation, mapping_version="m", run_id="r", actor="a", mode="full"
    )
    assert not ledger.stages.is_loaded(SANDBOX, SUPPLIERS)
    ledger.stages.finish(run, state=StageState.DONE, rows=10, bytes=100, detail={"created": 10}, lease=lease)
    assert ledger.stages.is_loaded(SANDBOX, SUPPLIERS)
    assert not ledger.stages.is_loaded(PRODUCTION, SUPPLIERS)
    start_generation(ledger, lease)
    assert not ledger.stages.is_loaded(SANDBOX, SUPPLIERS)


def test_status_shows_the_newest_run_of_each_stage(ledger: Ledger) -> None:
    """Old runs do not hide new ones, and a failure is kept with its reason."""
    for error in ("first", "second"):
        run = ledger.stages.start(
            SANDBOX, SUPPLIERS, STAGE, generation=None, mapping_version=None, run_id="r", actor="a", mode="full"
        )
        ledger.stages.fail(run, error)
    (row,) = ledger.stages.newest(SANDBOX)
    assert (row.state, row.error) == (StageState.FAILED, "second")
    assert ledger.stages.newest(PRODUCTION) == []
