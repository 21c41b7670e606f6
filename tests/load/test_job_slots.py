"""A task of Airflow that finds no free ingest job slot, and when a slot becomes free for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from emulated_org import Emulator
from staged_samples import SampleWorkspace, close, fresh_keys, make_workspace, stage

from kpc.errors import NoFreeSlot
from kpc.ledger.states import JobState
from kpc.load.chunk_load import ChunkSpec
from kpc.load.mapped_chunks import begin_chunk, ends_within, finish_chunk, plan_load, poll_chunk
from kpc.partition import find_partition
from kpc.stages.context import PartitionContext

PARTITION = find_partition("KPS_T_SALES_M", "2024-01")

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def org(emulated: Callable[..., Emulator]) -> Emulator:
    return emulated()


@pytest.fixture
def worker(org: Emulator, tmp_path: Path) -> Iterator[SampleWorkspace]:
    """One slot, and a partition of two chunks."""
    made = make_workspace(tmp_path, org.settings, "run")
    stage(made, PARTITION, fresh_keys(20), chunk_rows=10)
    made.settings.salesforce.jobs_in_flight = 1
    yield made
    close(made)


def wait_for_end(worker: SampleWorkspace, chunk: ChunkSpec, job_id: str) -> None:
    """As the triggerer follows the job, while the chunk's task is not running."""
    while not poll_chunk(worker, chunk, job_id).is_final:
        pass


def test_a_task_without_a_free_slot_gives_its_worker_back(worker: SampleWorkspace, org: Emulator) -> None:
    """If it waited in its worker, the tasks whose results free the slots might never get one."""
    first, second = plan_load(PartitionContext(worker, PARTITION))
    org.switch(processing="hold")
    begin_chunk(worker, first)
    with pytest.raises(NoFreeSlot, match=r"chunk-00002.csv.gz found no free slot: .* allows \(1\)") as full:
        begin_chunk(worker, second)
    assert 0 < (full.value.again_utc - datetime.now(UTC)).total_seconds() <= 10


def test_the_end_of_a_job_frees_its_slot_before_its_results_are_read(worker: SampleWorkspace) -> None:
    """Whoever reads them may wait for a worker; the org has nothing to do meanwhile."""
    first, second = plan_load(PartitionContext(worker, PARTITION))
    job_id = begin_chunk(worker, first)
    wait_for_end(worker, first, job_id)
    assert worker.ledger.jobs.in_flight(worker.environment.target_id) == 0
    ended = worker.ledger.jobs.of_chunk(first.generation, first.mapping_version, first.chunk)
    assert [job.state for job in ended] == [JobState.ENDED]
    begin_chunk(worker, second)
    assert finish_chunk(worker, first, job_id).loaded == 10
    (complete,) = worker.ledger.jobs.of_chunk(first.generation, first.mapping_version, first.chunk)
    assert complete.state is JobState.COMPLETE


def test_a_task_that_was_killed_after_its_job_had_ended_reads_the_results(worker: SampleWorkspace) -> None:
    """Its next try finds the ended job, and sends nothing again."""
    first, _ = plan_load(PartitionContext(worker, PARTITION))
    job_id = begin_chunk(worker, first)
    wait_for_end(worker, first, job_id)
    assert begin_chunk(worker, first) == job_id
    wait_for_end(worker, first, job_id)
    assert finish_chunk(worker, first, job_id).loaded == 10


def test_a_task_leaves_a_long_job_to_the_triggerer_at_once(worker: SampleWorkspace, org: Emulator) -> None:
    """Once a job of the object has shown the org's pace; the first one is waited for as long as patience allows."""
    org.switch(rows_per_s=50.0)  # in steps of 200 rows: four seconds for ten rows
    first, second = plan_load(PartitionContext(worker, PARTITION))
    job_id = begin_chunk(worker, first)
    assert seconds_until(lambda: ends_within(worker, first, job_id, 3.0) is False) > 1.5
    assert ends_within(worker, first, job_id, 30.0)
    next_id = begin_chunk(worker, second)
    assert 2 < poll_chunk(worker, second, next_id).expected_s < 8
    assert seconds_until(lambda: ends_within(worker, second, next_id, 3.0) is False) < 1.5


def seconds_until(holds: Callable[[], bool]) -> float:
    """How long the question took whose answer must be yes."""
    began = time.monotonic()
    assert holds()
    return time.monotonic() - began
