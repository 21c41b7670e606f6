"""A load follows its jobs closely and with few calls, whatever waits in the org's queue."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulated_org import Emulator
from faulty_transport import Fault, answers
from staged_samples import SampleWorkspace, fresh_keys, make_workspace, stage

from assets.sf_loaded import sf_loaded
from kpc.errors import Terminal
from kpc.ledger import JobRow, open_ledger
from kpc.partition import find_partition
from kpc.stages.context import PartitionContext

SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
OBJECT = SUPPLIERS.table.target
JOBS = 10
WORKS_S = 2.0  # rows are shown in steps of 200


@pytest.fixture
def emulator(emulated: Callable[..., Emulator]) -> Emulator:
    """Works on four jobs at once."""
    return emulated(f"rows_per_s={200 / WORKS_S}")


@pytest.fixture
def workspace(emulator: Emulator, tmp_path: Path) -> Iterator[SampleWorkspace]:
    """With the intervals of production."""
    settings = emulator.settings.model_copy(
        update={"poll_first_s": 0.5, "poll_longest_s": 7200.0, "upload_encoding": "gzip"}
    )
    made = make_workspace(tmp_path, settings, "run-1")
    yield made
    made.close()


def _load(workspace: SampleWorkspace, jobs: int) -> list[JobRow]:
    staged = stage(workspace, SUPPLIERS, fresh_keys(2 * jobs), chunk_rows=2)
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    ledger = workspace.ledger.jobs
    return [
        row for chunk in staged.chunks for row in ledger.of_chunk(staged.generation, staged.mapping_version, chunk.name)
    ]


def _requests(workspace: SampleWorkspace, pattern: str) -> int:
    return sum(re.search(pattern, request) is not None for request in workspace.transport.requests)


def test_every_end_is_noticed_in_five_seconds_at_few_calls(workspace: SampleWorkspace, emulator: Emulator) -> None:
    """Ten jobs of two seconds; noticed counts from the org's own end of a job to its results in the ledger."""
    workspace.plant()
    jobs = _load(workspace, JOBS)
    ended = {job["id"]: job["ended"] for job in emulator.job_times()}
    delays = [job.finished_utc.timestamp() - ended.pop(job.job_id) for job in jobs if job.finished_utc]
    assert ended == {}
    assert max(delays) <= 5
    assert _requests(workspace, "/services/data/") / JOBS <= 15
    assert _requests(workspace, "GET .*/jobs/ingest$") >= 1  # the list


def test_the_next_process_knows_the_pace_of_the_last_one(
    workspace: SampleWorkspace, emulator: Emulator, tmp_path: Path
) -> None:
    """It stands in the ledger, with the rows of the job that it was read from: two rows in eight seconds."""
    emulator.switch(rows_per_s=25)
    _load(workspace, 2)
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    rows, rows_per_s = str(ledger.org_facts.find(workspace.salesforce.org_id, f"pace upsert {OBJECT}")).split()
    ledger.close()
    assert rows == "2"
    assert 0.15 < float(rows_per_s) < 0.35


def test_a_user_who_may_not_list_jobs_loads_as_well(workspace: SampleWorkspace) -> None:
    """Each job is then asked for alone."""
    workspace.plant(Fault("GET .*/jobs/ingest$", answers(403, "INSUFFICIENT_ACCESS"), last=1_000))
    _load(workspace, 5)
    assert _requests(workspace, "GET .*/jobs/ingest$") == 1
    assert _requests(workspace, "/services/data/") / 5 <= 15


def test_jobs_deleted_while_they_wait_are_reported_at_once(workspace: SampleWorkspace, emulator: Emulator) -> None:
    """The list no longer shows them; nobody waits for an end that will not come."""
    emulator.switch(processing="hold")
    failed: list[str] = []

    def load() -> None:
        try:
            _load(workspace, 3)
        except Terminal as error:
            failed.append(str(error))

    loading = threading.Thread(target=load)
    loading.start()
    client = workspace.salesforce
    while [job["state"] for job in emulator.job_times()] != ["UploadComplete"] * 3:
        assert loading.is_alive()
        threading.Event().wait(0.1)
    for job in emulator.job_times():
        client.tell("DELETE", f"/jobs/ingest/{job['id']}", {})
    loading.join(20)
    assert not loading.is_alive()
    emulator.switch(processing="run")
    assert "no longer knows ingest job" in failed[0]


def test_a_query_is_followed_by_the_same_poller(workspace: SampleWorkspace, tmp_path: Path) -> None:
    """Its polls are counted with those of the ingest jobs."""
    before = workspace.salesforce.poller.requests
    assert workspace.salesforce.bulk_query(f"SELECT Id FROM {OBJECT}", tmp_path / "pages", rows=100).rows == 0
    assert 1 <= workspace.salesforce.poller.requests - before <= 3
