"""A load that is interrupted and never continued: its records are known, sent once, and taken out by a rollback."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest
from emulated_org import Emulator
from killing import kill
from load_child import COMMIT
from staged_samples import SampleWorkspace, close, fresh_keys, make_workspace, put_foreign, stage

from assets.sf_loaded import sf_loaded
from kpc.errors import DamagedFile, JobFailed, Superseded, Transient
from kpc.ledger.states import JobState
from kpc.load.mapped_chunks import begin_chunk, finish_chunk, plan_load
from kpc.load.superseded_loads import finalize_superseded_loads
from kpc.partition import find_partition
from kpc.rollback.partition_rollback import plan_rollback, roll_back
from kpc.stages.context import PartitionContext

SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
OBJECT, KEY = SUPPLIERS.table.target, "External_ID__c"

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def emulator(emulated: Callable[..., Emulator]) -> Emulator:
    return emulated()


@pytest.fixture
def workspace(emulator: Emulator, tmp_path: Path) -> Iterator[SampleWorkspace]:
    made = make_workspace(tmp_path, emulator.settings, "run-1")
    made.settings.lease_s = 0.5
    yield made
    close(made)


def _in_org(workspace: SampleWorkspace) -> list[str]:
    return sorted(str(record[KEY]) for record in workspace.salesforce.query(f"SELECT {KEY} FROM {OBJECT}"))


def _context(workspace: SampleWorkspace) -> PartitionContext:
    return PartitionContext(workspace, SUPPLIERS)


def _finalize(workspace: SampleWorkspace) -> int:
    """As before a newer generation is staged."""
    return finalize_superseded_loads(_context(workspace), ("01NEWER", SUPPLIERS.table.mapping_version))


def _index(workspace: SampleWorkspace) -> dict[str, bool]:
    """The loaded index: whether the migration created the record, by external id."""
    path = _context(workspace).paths.loaded_index
    found = pl.read_parquet(path) if path.is_file() else pl.DataFrame({"external_id": [], "created": []})
    return dict(zip(found["external_id"], found["created"], strict=True))


POINTS = [
    *((" /services/data", after, number) for number in (1, 2, 3, 4, 5, 6) for after in ("", "yes")),
    *((COMMIT, "", number) for number in (4, 8, 12)),
]


@pytest.mark.parametrize(("pattern", "after", "number"), POINTS, ids=str)
def test_a_rollback_after_any_crash_takes_out_what_was_created(
    workspace: SampleWorkspace, tmp_path: Path, pattern: str, after: str, number: int
) -> None:
    """SIGKILL at a request or commit of the load: preview, rollback and org agree, and nobody else's record goes."""
    foreign, keys = fresh_keys(2), fresh_keys(5)
    put_foreign(workspace, SUPPLIERS, foreign)
    stage(workspace, SUPPLIERS, keys)
    kill(tmp_path, workspace.settings.salesforce, pattern, after, number)
    preview = plan_rollback(_context(workspace))
    arrived = [key for key in _in_org(workspace) if key in keys]
    assert preview.created == len(arrived)
    assert roll_back(_context(workspace)).created == len(arrived)
    assert _in_org(workspace) == sorted(foreign)
    assert workspace.ledger.jobs.in_flight(workspace.environment.target_id) == 0


@pytest.mark.parametrize(("pattern", "after", "number"), POINTS, ids=str)
def test_before_a_newer_generation_the_org_and_the_index_agree(
    workspace: SampleWorkspace, tmp_path: Path, pattern: str, after: str, number: int
) -> None:
    """Every record that reached the org is in the index as created; a job that was never closed wrote none."""
    keys = fresh_keys(5)
    stage(workspace, SUPPLIERS, keys)
    kill(tmp_path, workspace.settings.salesforce, pattern, after, number)
    _finalize(workspace)
    assert _index(workspace) == dict.fromkeys(_in_org(workspace), True)
    jobs = workspace.ledger.jobs.at_work(workspace.environment, SUPPLIERS)
    assert [job.state for job in jobs] == []


def test_a_damaged_manifest_of_an_interrupted_load_is_named(workspace: SampleWorkspace, tmp_path: Path) -> None:
    """A newer generation would not mend it: the message asks for the file, and with it nothing is lost."""
    keys = fresh_keys(3)
    stage(workspace, SUPPLIERS, keys)
    kill(tmp_path, workspace.settings.salesforce, "PATCH", "yes", 1)
    (manifest,) = workspace.store.root.rglob("staged-*/manifest.json")
    content = manifest.read_bytes()
    manifest.write_bytes(content[:-9])
    with pytest.raises(DamagedFile, match="Restore it from a backup"):
        _finalize(workspace)
    manifest.write_bytes(content)
    _finalize(workspace)
    assert _index(workspace) == dict.fromkeys(_in_org(workspace), True)


def test_three_generations_in_a_row(workspace: SampleWorkspace, tmp_path: Path) -> None:
    """Two interrupted loads and a finished one: each record counts as created once, and a rollback takes all out."""
    first, second, third = fresh_keys(3, "a"), fresh_keys(4, "b"), fresh_keys(2, "c")
    for keys in (first, second):
        stage(workspace, SUPPLIERS, keys)
        kill(tmp_path, workspace.settings.salesforce, "PATCH", "yes", 1)
    stage(workspace, SUPPLIERS, third)
    sf_loaded.materialize(_context(workspace))
    assert _index(workspace) == dict.fromkeys(_in_org(workspace), True)
    assert _in_org(workspace) == [*first, *second, *third]
    assert plan_rollback(_context(workspace)).created == len(_in_org(workspace))
    roll_back(_context(workspace))
    assert _in_org(workspace) == []


def test_a_job_that_still_works_is_followed_to_its_end(emulator: Emulator, workspace: SampleWorkspace) -> None:
    """Neither preview nor rollback guesses at a running job: both wait for it."""
    emulator.switch(processing="hold")
    keys = fresh_keys(3)
    stage(workspace, SUPPLIERS, keys)
    (spec,) = plan_load(_context(workspace))
    begin_chunk(workspace, spec)
    timer = threading.Timer(1.0, emulator.switch, kwargs={"processing": "run"})
    timer.start()
    began = time.monotonic()
    assert plan_rollback(_context(workspace)).created == 3
    assert time.monotonic() - began > 0.9
    timer.join()
    assert roll_back(_context(workspace)).created == 3
    assert _in_org(workspace) == []


def test_a_preview_leaves_the_load_able_to_continue(workspace: SampleWorkspace, tmp_path: Path) -> None:
    """After a preview the interrupted load continues as if nobody had looked, and sends nothing again."""
    keys = fresh_keys(4)
    stage(workspace, SUPPLIERS, keys)
    kill(tmp_path, workspace.settings.salesforce, " /services/data", "yes", 6)
    before = plan_rollback(_context(workspace)).created
    workspace.plant()
    result = sf_loaded.materialize(_context(workspace))
    assert (result.rows, result.detail["created"]) == (4, 4)
    uploads = [request for request in workspace.transport.requests if "PUT" in request]
    assert len(uploads) == (0 if before else 1)


def test_a_superseded_load_sends_nothing_more(workspace: SampleWorkspace) -> None:
    """A task of the old load that wakes up late is refused, whatever it was about to do."""
    stage(workspace, SUPPLIERS, fresh_keys(2))
    (spec,) = plan_load(_context(workspace))
    _finalize(workspace)
    with pytest.raises(Superseded, match="newer"):
        begin_chunk(workspace, spec)
    assert _in_org(workspace) == []


@pytest.mark.parametrize("how", ["deleted", "expired"])
def test_without_results_the_org_is_asked_by_the_marker(
    emulator: Emulator, workspace: SampleWorkspace, how: str
) -> None:
    """The job was deleted in Setup, or its results are older than seven days: the records themselves tell."""
    foreign, keys = fresh_keys(2), fresh_keys(3)
    put_foreign(workspace, SUPPLIERS, foreign)
    stage(workspace, SUPPLIERS, [*foreign, *keys])
    (spec,) = plan_load(_context(workspace))
    job_id = begin_chunk(workspace, spec)
    while not workspace.salesforce.job(job_id).state.is_final:  # type: ignore[union-attr]
        time.sleep(0.05)
    if how == "deleted":
        _delete_job(emulator, job_id)
    else:
        _advance(emulator, days=8)
    _finalize(workspace)
    assert _index(workspace) == {**dict.fromkeys(foreign, False), **dict.fromkeys(keys, True)}
    assert plan_rollback(_context(workspace)).created == 3
    roll_back(_context(workspace))
    assert _in_org(workspace) == sorted(foreign)


def _delete_job(emulator: Emulator, job_id: str) -> None:
    url = f"{emulator.facts['base_url']}/services/data/v62.0/jobs/ingest/{job_id}"
    assert httpx.delete(url, headers=_token(emulator), timeout=60, trust_env=False).status_code == 204


def _token(emulator: Emulator) -> dict[str, str]:
    return {"Authorization": f"Bearer {emulator.facts['access_token']}"}


def _advance(emulator: Emulator, *, days: int) -> None:
    answer = httpx.post(
        f"{emulator.facts['base_url']}/_emulator/clock",
        json={"advance_s": days * 86_400},
        headers=_token(emulator),
        timeout=60,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text


def test_rows_of_a_job_aborted_in_setup_are_not_sent_again(emulator: Emulator, workspace: SampleWorkspace) -> None:
    """Half of the rows are in the org when an administrator aborts the job; a newer generation finds them loaded."""
    emulator.switch(rows_per_s=2_000)
    keys = fresh_keys(12_000)
    stage(workspace, SUPPLIERS, keys)
    (spec,) = plan_load(_context(workspace))
    job_id = begin_chunk(workspace, spec)
    while not workspace.salesforce.job(job_id).processed:  # type: ignore[union-attr]
        time.sleep(0.05)
    workspace.salesforce.abort_job(job_id)
    with pytest.raises(JobFailed):
        finish_chunk(workspace, spec, job_id)
    _finalize(workspace)
    assert 0 < len(_index(workspace)) < 12_000
    assert sorted(_index(workspace)) == _in_org(workspace)
    states = [job.state for job in workspace.ledger.jobs.of_load(spec.generation, spec.mapping_version)]
    assert states == [JobState.ABORTED]


def test_a_load_that_is_alive_is_waited_for(workspace: SampleWorkspace, tmp_path: Path, emulator: Emulator) -> None:
    """While another run holds the load's lease, the newer generation is not staged; the message names that run."""
    stage(workspace, SUPPLIERS, fresh_keys(2))
    plan_load(_context(workspace))
    workspace.settings.lease_s = 30
    other = make_workspace(tmp_path, emulator.settings, "run-2")
    other.settings.lease_wait_s = 0.1
    ledger, environment = workspace.ledger, workspace.environment
    with (
        ledger.leases.hold(environment, SUPPLIERS, "sf_loaded", owner="run-1", ttl_s=30, wait_s=1),
        pytest.raises(Transient, match="run-1"),
    ):
        _finalize(other)
    close(other)
