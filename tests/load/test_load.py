"""A load sends every staged row once, accounts for each, and costs nothing when repeated."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import polars as pl
import pytest
from emulated_org import Emulator
from faulty_transport import Fault, FaultyTransport, answers, is_lost, is_refused
from killing import kill
from load_child import COMMIT, RENAME
from staged_samples import SampleWorkspace, close, fresh_keys, make_workspace, stage

from assets.sf_loaded import sf_loaded
from kpc.bench.sample_load import load_sample, stage_sample
from kpc.errors import (
    ConfigError,
    DamagedFile,
    JobFailed,
    LeaseLost,
    QuotaExhausted,
    SalesforceDown,
    SchemaDrift,
    Superseded,
    Terminal,
    Transient,
)
from kpc.load.chunk_load import ChunkSpec
from kpc.load.mapped_chunks import begin_chunk, finish_chunk, plan_load, poll_chunk
from kpc.load.plan import missing_parents
from kpc.load.upload_encoding import ENCODING_TRAIT
from kpc.partition import find_partition
from kpc.salesforce import JobInfo
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import published_load
from kpc.stages.result import StageResult
from kpc.stages.workspace import Workspace
from kpc.storage.layout import loaded_folder, staged_folder
from kpc.storage.manifests import LoadManifest
from kpc.storage.store import read_manifest

SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
EMAILS = find_partition("KPS_R_EMAIL_SUPPLIER", "ALL")
OBJECT = SUPPLIERS.table.target
KEY = "External_ID__c"
PARENT = "Pos_Supplier__r.External_ID__c"

pytestmark = pytest.mark.usefixtures("quick_retries")


def _in_org(workspace: Workspace, keys: list[str], object_name: str = OBJECT) -> list[str]:
    prefix = keys[0].rsplit("-", 1)[0]
    soql = f"SELECT {KEY} FROM {object_name} WHERE {KEY} LIKE '{prefix}-%'"
    return sorted(record[KEY] for record in workspace.salesforce.query(soql))


def _jobs(workspace: Workspace) -> list[JobInfo]:
    """Every job that the org knows; counts only from `_sent_rows`."""
    return list(workspace.salesforce.list_jobs())


def _sent_rows(workspace: Workspace, before: set[str]) -> int:
    """Rows that the org worked on, successful or not, in jobs that are not in `before`."""
    fresh = [workspace.salesforce.job(info.id) for info in _jobs(workspace) if info.id not in before]
    return sum(info.processed for info in fresh if info is not None)


def _folder(workspace: Workspace, stage_result: StageResult) -> Path:
    partition = find_partition(stage_result.table, stage_result.key)
    generation = PartitionContext(workspace, partition).paths.generation(stage_result.generation).folder
    return generation / loaded_folder(partition.table.mapping_version)


def _faulty(workspace: SampleWorkspace, *faults: Fault) -> FaultyTransport:
    return workspace.plant(*faults)


def test_every_row_is_loaded_once_and_accounted_for(workspace: Workspace) -> None:
    """Five chunks become five jobs; files, manifest, ledger and loaded_index agree with the org."""
    keys = fresh_keys(23)
    before = {info.id for info in _jobs(workspace)}
    stage(workspace, SUPPLIERS, keys, chunk_rows=5)
    stage_result = sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert _in_org(workspace, keys) == keys
    assert _sent_rows(workspace, before) == 23
    assert stage_result.detail == {
        "staged": 23, "loaded": 23, "created": 23, "failed": 0, "unprocessed": 0, "jobs": 5, "attempt": 1,
    }  # fmt: skip
    folder = _folder(workspace, stage_result)
    success = pl.read_csv(folder / "success.csv.gz", infer_schema=False)
    assert sorted(success[KEY]) == keys
    assert (
        gzip.decompress((folder / "failed.csv.gz").read_bytes()).decode().startswith("sf__Id,sf__Error,External_ID__c")
    )
    index = pl.read_parquet(PartitionContext(workspace, SUPPLIERS).paths.folder / "loaded_index.parquet")
    assert index["key_hash"].is_sorted()
    assert dict(zip(index["external_id"], index["salesforce_id"], strict=True)) == dict(
        zip(success[KEY], success["sf__Id"], strict=True)
    )
    assert workspace.ledger.stages.is_loaded(workspace.environment, SUPPLIERS)
    assert workspace.ledger.jobs.in_flight(workspace.environment.target_id) == 0
    assert workspace.ledger.quota.used(workspace.environment.target_id) == (23, 5)


def test_repeating_a_finished_load_sends_nothing(workspace: Workspace) -> None:
    """The second run of the same generation makes no job and gives the same result."""
    stage(workspace, SUPPLIERS, fresh_keys(4), chunk_rows=2)
    first = sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    before = {info.id for info in _jobs(workspace)}
    again = sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert again.detail == first.detail
    assert {info.id for info in _jobs(workspace)} == before
    assert plan_load(PartitionContext(workspace, SUPPLIERS)) == ()


def test_empty_partition_is_loaded_with_no_rows(workspace: Workspace) -> None:
    """Nothing staged is a complete load: files with headers only, no job."""
    stage(workspace, SUPPLIERS, [])
    assert plan_load(PartitionContext(workspace, SUPPLIERS)) == ()
    stage_result = sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert stage_result.rows == 0
    assert workspace.ledger.stages.is_loaded(workspace.environment, SUPPLIERS)
    assert pl.read_csv(_folder(workspace, stage_result) / "failed.csv.gz").height == 0


def test_steps_of_separate_tasks_do_the_same(workspace: Workspace, salesforce: SalesforceSettings) -> None:
    """Plan, start, poll, finish and publish in processes of their own, each step twice, send each chunk once."""
    keys = fresh_keys(6)
    before = {info.id for info in _jobs(workspace)}
    stage(workspace, SUPPLIERS, keys, chunk_rows=3)
    planned = plan_load(PartitionContext(workspace, SUPPLIERS))
    specs = [ChunkSpec.model_validate(json.loads(json.dumps(spec.as_json()))) for spec in planned]
    assert [spec.chunk for spec in specs] == ["chunk-00001.csv.gz", "chunk-00002.csv.gz"]
    assert plan_load(PartitionContext(workspace, SUPPLIERS)) == tuple(specs)
    for spec in specs:
        job_id = begin_chunk(workspace, spec)
        assert begin_chunk(workspace, spec) == job_id
        while not poll_chunk(workspace, spec, job_id).is_final:
            pass
        result = finish_chunk(workspace, spec, job_id)
        assert finish_chunk(workspace, spec, job_id) == result
        assert begin_chunk(workspace, spec) == job_id
        assert poll_chunk(workspace, spec, job_id).is_final
        assert (result.loaded, result.jobs) == (3, (job_id,))
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert _in_org(workspace, keys) == keys
    assert _sent_rows(workspace, before) == 6


def test_another_run_waits_while_tasks_hold_the_lease(workspace: Workspace, tmp_path: Path) -> None:
    """Between two tasks of one run no other run gets in; after publish it finds nothing to do."""
    stage(workspace, SUPPLIERS, fresh_keys(2))
    (spec,) = plan_load(PartitionContext(workspace, SUPPLIERS))
    other = make_workspace(tmp_path, workspace.settings.salesforce, "run-2")
    other.settings.lease_wait_s = 0.1
    with pytest.raises(Transient, match="run-1"):
        plan_load(PartitionContext(other, SUPPLIERS))
    job_id = begin_chunk(workspace, spec)
    while not poll_chunk(workspace, spec, job_id).is_final:
        pass
    finish_chunk(workspace, spec, job_id)
    first = sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert sf_loaded.materialize(PartitionContext(other, SUPPLIERS)).detail == first.detail
    close(other)


def test_failed_rows_are_kept_with_reason_and_never_counted_as_loaded(workspace: Workspace) -> None:
    """A row that Salesforce refuses is in failed.csv.gz and in the ledger, without its personal values."""
    keys = fresh_keys(3)
    stage(workspace, SUPPLIERS, keys[:1])
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    parents = {key: {PARENT: keys[0]} for key in keys}
    wrong = {keys[1]: {PARENT: "no such supplier"}, keys[2]: {PARENT: keys[0], "Email__c": "x@" * 60}}
    stage(workspace, EMAILS, keys, values=parents | wrong)
    stage_result = sf_loaded.materialize(PartitionContext(workspace, EMAILS))
    assert (stage_result.detail["loaded"], stage_result.detail["failed"]) == (1, 2)
    records = workspace.ledger.failures.of_partition(workspace.environment, EMAILS)
    assert [(record.external_id, record.error_class) for record in records] == [
        (keys[1], "dependency"),
        (keys[2], "data"),
    ]
    assert "x@x@" not in records[1].message
    failed = pl.read_csv(_folder(workspace, stage_result) / "failed.csv.gz", infer_schema=False)
    assert sorted(failed[KEY]) == keys[1:]
    index = PartitionContext(workspace, EMAILS).paths.folder / "loaded_index.parquet"
    assert pl.read_parquet(index)["external_id"].to_list() == keys[:1]
    stage(workspace, EMAILS, keys, values=parents)
    assert sf_loaded.materialize(PartitionContext(workspace, EMAILS)).detail["failed"] == 0
    assert workspace.ledger.failures.of_partition(workspace.environment, EMAILS) == []
    assert sorted(pl.read_parquet(index)["external_id"]) == keys


def test_new_load_replaces_what_the_index_said_of_its_keys(workspace: Workspace) -> None:
    """The index keeps rows that were not sent again and takes the checksum of those that were."""
    keys = fresh_keys(4)
    path = PartitionContext(workspace, SUPPLIERS).paths.folder / "loaded_index.parquet"
    stage(workspace, SUPPLIERS, keys)
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    first = pl.read_parquet(path)
    stage(workspace, SUPPLIERS, keys[:1], values={keys[0]: {"Name_E__c": "changed"}})
    stage_result = sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    second = pl.read_parquet(path)
    assert stage_result.detail["created"] == 0
    assert second["salesforce_id"].equals(first["salesforce_id"])
    changed = first.filter(second["checksum"] != first["checksum"])
    assert changed["external_id"].to_list() == keys[:1]


def test_parents_gate_by_their_current_generation(workspace: Workspace) -> None:
    """A child waits until its parent's newest extract is loaded."""
    assert missing_parents(PartitionContext(workspace, EMAILS)) == (SUPPLIERS,)
    stage(workspace, SUPPLIERS, fresh_keys(1))
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert missing_parents(PartitionContext(workspace, EMAILS)) == ()
    stage(workspace, SUPPLIERS, fresh_keys(1))
    assert missing_parents(PartitionContext(workspace, EMAILS)) == (SUPPLIERS,)


@pytest.mark.parametrize(("collection_rows", "jobs"), [(0, 2), (2000, 1)], ids=["as a job", "as a collection"])
def test_passing_failures_are_sent_again(
    emulated: Callable[..., Emulator], tmp_path: Path, collection_rows: int, jobs: int
) -> None:
    """Locked rows are repeated as a small job or by collections, and nothing of it remains as a failure."""
    workspace = make_workspace(tmp_path, emulated("lock_rows_every=3").settings, "run-1")
    workspace.settings.salesforce.jobs_in_flight = 1  # a retry may not wait for the slot of its own chunk
    workspace.settings.salesforce.collection_rows = collection_rows
    keys = fresh_keys(10)
    stage(workspace, SUPPLIERS, keys)
    stage_result = sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert stage_result.detail["loaded"] == stage_result.detail["created"] == 10
    assert int(stage_result.detail["jobs"]) >= jobs
    assert workspace.ledger.quota.used(workspace.environment.target_id)[1] == stage_result.detail["jobs"]
    assert _in_org(workspace, keys) == keys
    assert workspace.ledger.failures.of_partition(workspace.environment, SUPPLIERS) == []
    assert workspace.ledger.jobs.in_flight(workspace.environment.target_id) == 0
    close(workspace)


def test_rows_sent_again_wait_for_no_slot_that_nobody_gives_back(
    emulated: Callable[..., Emulator], tmp_path: Path
) -> None:
    """With one slot, held by the second chunk's job, that job is finished before rows of the first are repeated."""
    workspace = make_workspace(tmp_path, emulated("lock_rows_every=3").settings, "run-1")
    settings = workspace.settings.salesforce
    settings.jobs_in_flight, settings.collection_rows, settings.job_timeout_s = 1, 0, 5.0
    keys = fresh_keys(8)
    stage(workspace, SUPPLIERS, keys, chunk_rows=4)
    first, second = plan_load(PartitionContext(workspace, SUPPLIERS))
    job_id = begin_chunk(workspace, first)
    while not poll_chunk(workspace, first, job_id).is_final:
        pass
    _faulty(workspace, Fault("GET .*Results", answers(503, "DOWN"), last=3))
    with pytest.raises(SalesforceDown):
        finish_chunk(workspace, first, job_id)
    begin_chunk(workspace, second)
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["loaded"] == 8
    assert _in_org(workspace, keys) == keys
    close(workspace)


@pytest.mark.parametrize("switch", ["gzip_upload=refuse", "gzip_upload=misread"])
def test_org_that_takes_no_gzip_gets_plain_csv(emulated: Callable[..., Emulator], tmp_path: Path, switch: str) -> None:
    """Refused or misread, gzip is tried once per org and then left; no row is lost by it."""
    workspace = make_workspace(tmp_path, emulated(switch).settings, "run-1")
    keys = fresh_keys(6)
    stage(workspace, SUPPLIERS, keys, chunk_rows=2)
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["loaded"] == 6
    assert _in_org(workspace, keys) == keys
    assert workspace.ledger.org_facts.find(workspace.salesforce.org_id, ENCODING_TRAIT) == "identity"
    failed = [info for info in _jobs(workspace) if info.state == "Failed"]
    assert len(failed) == (switch == "gzip_upload=misread")
    close(workspace)


def test_large_chunk_is_no_trial_of_gzip(emulated: Callable[..., Emulator], tmp_path: Path) -> None:
    """What an org thinks of gzip is learned from a chunk of one batch at most; before that, large ones travel plain."""
    workspace = make_workspace(tmp_path, emulated("gzip_upload=misread").settings, "run-1")
    stage(workspace, SUPPLIERS, fresh_keys(10_001))
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["jobs"] == 1
    assert workspace.ledger.org_facts.find(workspace.salesforce.org_id, ENCODING_TRAIT) is None
    stage(workspace, SUPPLIERS, fresh_keys(3))
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["jobs"] == 1
    assert workspace.ledger.org_facts.find(workspace.salesforce.org_id, ENCODING_TRAIT) == "identity"
    close(workspace)


def test_partition_over_the_daily_allowance_waits_for_the_next(workspace: Workspace) -> None:
    """What does not fit is not sent; what was sent is not sent again when the allowance grows."""
    keys = fresh_keys(6)
    stage(workspace, SUPPLIERS, keys, chunk_rows=2)
    workspace.settings.salesforce.daily_batches = 2
    workspace.settings.salesforce.jobs_in_flight = 1
    with pytest.raises(QuotaExhausted) as caught:
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert (caught.value.next_free_utc - workspace.clock()).total_seconds() > 86_000
    sent = _in_org(workspace, keys)
    assert len(sent) == 4
    assert len({keys.index(key) // 2 for key in sent}) == 2  # two whole chunks
    before = {info.id for info in _jobs(workspace)}
    workspace.settings.salesforce.daily_batches = 3
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["loaded"] == 6
    assert _sent_rows(workspace, before) == 2


def test_org_out_of_batches_ends_the_load_with_a_time(emulated: Callable[..., Emulator], tmp_path: Path) -> None:
    """When the org itself says no, it is a matter of quota and not a failure of rows."""
    workspace = make_workspace(tmp_path, emulated("daily_batches=1").settings, "run-1")
    stage(workspace, SUPPLIERS, fresh_keys(4), chunk_rows=2)
    with pytest.raises(QuotaExhausted):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert workspace.ledger.failures.of_partition(workspace.environment, SUPPLIERS) == []
    assert not workspace.ledger.stages.is_loaded(workspace.environment, SUPPLIERS)
    assert workspace.ledger.jobs.in_flight(workspace.environment.target_id) == 0
    close(workspace)


def test_job_that_failed_in_the_org_is_named_and_sent_again_on_request(
    emulated: Callable[..., Emulator], tmp_path: Path
) -> None:
    """A job that ended before its first row stops the load; the next run makes another."""
    workspace = make_workspace(tmp_path, emulated("batch_timeouts=1", "batch_attempts=1").settings, "run-1")
    keys = fresh_keys(3)
    stage(workspace, SUPPLIERS, keys)
    with pytest.raises(JobFailed, match="Timeout"):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["loaded"] == 3
    assert _in_org(workspace, keys) == keys
    close(workspace)


def test_rest_of_a_job_cut_by_the_quota_is_sent_when_there_is_room(
    emulated: Callable[..., Emulator], tmp_path: Path
) -> None:
    """Of 15,000 rows the org takes one batch; the next run sends the other 5,000 and nothing else."""
    emulator = emulated("daily_records=10000")
    workspace = make_workspace(tmp_path, emulator.settings, "run-1")
    stage(workspace, SUPPLIERS, fresh_keys(15_000))
    with pytest.raises(QuotaExhausted):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    with pytest.raises(QuotaExhausted):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    emulator.switch(daily_records=100_000)
    workspace.ledger.quota.unblock(workspace.environment.target_id)
    stage_result = sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert (stage_result.detail["loaded"], stage_result.detail["created"], stage_result.detail["jobs"]) == (
        15_000,
        15_000,
        2,
    )
    assert _sent_rows(workspace, set()) == 15_000
    assert workspace.salesforce.count(OBJECT) == 15_000
    close(workspace)


def test_rows_whose_results_vanished_are_found_and_sent_again(
    emulated: Callable[..., Emulator], tmp_path: Path
) -> None:
    """Over-quota rows that appear in no result file are never taken for loaded, and only they are sent again."""
    emulator = emulated("daily_records=10000", "over_quota_rows=unrecorded")
    workspace = make_workspace(tmp_path, emulator.settings, "run-1")
    stage(workspace, SUPPLIERS, fresh_keys(10_001))
    workspace.settings.salesforce.collection_rows = 0
    with pytest.raises(QuotaExhausted):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    emulator.switch(daily_records=100_000)
    workspace.ledger.quota.unblock(workspace.environment.target_id)
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["loaded"] == 10_001
    assert _sent_rows(workspace, set()) == 10_001
    assert workspace.salesforce.count(OBJECT) == 10_001
    close(workspace)


def test_job_aborted_by_hand_stops_the_load_and_the_next_run_sends_it(
    emulated: Callable[..., Emulator], tmp_path: Path
) -> None:
    """Somebody's abort in Setup is reported, and undone only by a new run."""
    emulator = emulated("processing=hold")
    workspace = make_workspace(tmp_path, emulator.settings, "run-1")
    keys = fresh_keys(2)
    stage(workspace, SUPPLIERS, keys)
    (spec,) = plan_load(PartitionContext(workspace, SUPPLIERS))
    job_id = begin_chunk(workspace, spec)
    workspace.salesforce.abort_job(job_id)
    while not (progress := poll_chunk(workspace, spec, job_id)).is_final:
        assert progress.wait_s <= workspace.settings.salesforce.poll_longest_s
    with pytest.raises(JobFailed, match="Aborted"):
        finish_chunk(workspace, spec, job_id)
    emulator.switch(processing="run")
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["created"] == 2
    close(workspace)


@pytest.mark.parametrize("is_done", [False, True])
def test_job_deleted_by_an_administrator_is_told_and_the_next_run_sends_it(
    emulated: Callable[..., Emulator], tmp_path: Path, is_done: bool
) -> None:
    """Whether its rows were written or not, every row is there once at the end."""
    emulator = emulated("processing=hold")
    workspace = make_workspace(tmp_path, emulator.settings, "run-1")
    keys = fresh_keys(2)
    stage(workspace, SUPPLIERS, keys)
    (spec,) = plan_load(PartitionContext(workspace, SUPPLIERS))
    job_id = begin_chunk(workspace, spec)
    if is_done:
        emulator.switch(processing="run")
        while not poll_chunk(workspace, spec, job_id).is_final:
            pass
    delete_job(emulator, job_id)
    with pytest.raises(Terminal, match=f"no longer knows ingest job {job_id}"):
        finish_chunk(workspace, spec, job_id)
    emulator.switch(processing="run")
    detail = sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail
    assert (detail["loaded"], detail["created"]) == (2, 2)  # a rollback deletes what either job created
    assert _in_org(workspace, keys) == keys
    close(workspace)


def delete_job(emulator: Emulator, job_id: str) -> None:
    """As another user, who is an administrator, does it in Setup."""
    address = emulator.facts["base_url"]
    admin = httpx.post(f"{address}/_emulator/users", json={"username": "admin@kpc.emulator"}, trust_env=False).json()
    header = {"Authorization": f"Bearer {admin['access_token']}"}
    job = f"{address}/services/data/v62.0/jobs/ingest/{job_id}"
    assert httpx.delete(job, headers=header, trust_env=False).status_code == 204


def test_results_that_are_gone_after_seven_days_are_told_and_sent_again(
    emulated: Callable[..., Emulator], tmp_path: Path
) -> None:
    emulator = emulated()
    workspace = make_workspace(tmp_path, emulator.settings, "run-1")
    keys = fresh_keys(3)
    stage(workspace, SUPPLIERS, keys)
    (spec,) = plan_load(PartitionContext(workspace, SUPPLIERS))
    job_id = begin_chunk(workspace, spec)
    while not poll_chunk(workspace, spec, job_id).is_final:
        pass
    clock = {"advance_s": 8 * 86_400}
    httpx.post(f"{emulator.facts['base_url']}/_emulator/clock", json=clock, trust_env=False).raise_for_status()
    with pytest.raises(Terminal, match=r"no longer knows ingest job") as gone:
        finish_chunk(workspace, spec, job_id)
    assert "Results are kept for 7 days. Run the load again" in gone.value.remedy
    detail = sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail
    assert (detail["loaded"], detail["created"]) == (3, 3)
    assert _in_org(workspace, keys) == keys
    close(workspace)


def test_run_that_lost_its_lease_closes_no_job(workspace: Workspace) -> None:
    """The lease is checked right before a job begins to cost: the new holder decides."""
    keys = fresh_keys(2)
    stage(workspace, SUPPLIERS, keys)

    def take_over(_: object) -> None:
        with workspace.ledger.database.writing() as connection:
            connection.exec_driver_sql("UPDATE lease SET owner = 'run-2', token = token + 1 WHERE stage = 'sf_loaded'")

    transport = _faulty(workspace, Fault("PUT", take_over, after=True))
    with pytest.raises(LeaseLost, match="run-2"):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert not any(request.startswith("PATCH") for request in transport.requests)
    assert _in_org(workspace, keys) == []


def test_outage_while_a_job_runs_is_waited_out(emulated: Callable[..., Emulator], tmp_path: Path) -> None:
    """Ten polls without an answer do not end a load that is going on in the org."""
    emulator = emulated("processing=hold")
    workspace = make_workspace(tmp_path, emulator.settings, "run-1")
    stage(workspace, SUPPLIERS, fresh_keys(2))
    polls = 0

    def is_out(request: httpx.Request) -> None:
        nonlocal polls
        polls += 1
        if polls == 10:  # the job ends in the org while nobody can see it
            emulator.switch(processing="run")
        is_refused(request)

    _faulty(workspace, Fault("GET .*/jobs/ingest/", is_out, first=2, last=11))
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["loaded"] == 2
    assert polls == 10
    close(workspace)


def test_load_works_the_same_on_postgresql(
    salesforce: SalesforceSettings, tmp_path: Path, postgres_database: str
) -> None:
    """Eight chunks at once, leases renewed meanwhile, all booked in PostgreSQL."""
    workspace = make_workspace(tmp_path, salesforce, "run-1", lease_s=0.3, ledger_url=postgres_database)
    keys = fresh_keys(16)
    stage(workspace, SUPPLIERS, keys, chunk_rows=2)
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["loaded"] == 16
    assert _in_org(workspace, keys) == keys
    assert workspace.ledger.audit.verify() == []
    close(workspace)


def test_changed_chunk_is_refused_before_anything_is_sent(workspace: Workspace) -> None:
    """The bytes are checked against the manifest right before they are uploaded."""
    keys = fresh_keys(2)
    staged = stage(workspace, SUPPLIERS, keys)
    generation = PartitionContext(workspace, SUPPLIERS).paths.generation(staged.generation).folder
    chunk = generation / staged_folder(staged.mapping_version) / staged.chunks[0].name
    content = bytearray(chunk.read_bytes())
    content[-9] ^= 1
    chunk.write_bytes(content)
    before = {info.id for info in _jobs(workspace)}
    with pytest.raises(DamagedFile, match="kpc rerun"):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert {info.id for info in _jobs(workspace)} == before
    assert workspace.ledger.jobs.in_flight(workspace.environment.target_id) == 0


def test_drifted_object_stops_before_quota_is_spent(workspace: Workspace) -> None:
    """A missing object or field is found by describe, not by a failed job."""
    stage(workspace, SUPPLIERS, fresh_keys(1))
    _faulty(workspace, Fault("GET .*/describe", answers(404, "NOT_FOUND"), last=9))
    with pytest.raises(SchemaDrift):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert workspace.ledger.quota.used(workspace.environment.target_id) == (0, 0)


def test_older_generation_is_refused(workspace: Workspace) -> None:
    """Once a newer extract has begun to load, an older one cannot overwrite it."""
    keys = fresh_keys(1)
    stage(workspace, SUPPLIERS, keys)
    (old,) = plan_load(PartitionContext(workspace, SUPPLIERS))
    stage(workspace, SUPPLIERS, keys)
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    with pytest.raises(Superseded):
        begin_chunk(workspace, old)


def test_unstaged_partition_says_what_to_run(workspace: Workspace) -> None:
    """A load without its staging is an order of stages, not a crash."""
    with pytest.raises(ConfigError, match="kpc rerun"):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST .*/jobs/ingest", is_lost, after=True),
        Fault("POST .*/jobs/ingest", is_lost, after=False),
        Fault("PUT .*/batches", is_lost, after=True),
        Fault("PUT .*/batches", is_lost, after=False),
        Fault("PATCH", is_lost, after=True),
        Fault("PATCH", is_lost, after=False),
        Fault("PATCH", answers(503, "SERVER_UNAVAILABLE")),
        Fault("GET .*/jobs/ingest/", is_refused, last=2),
        Fault("GET .*successfulResults", is_lost, after=True),
    ],
    ids=lambda fault: f"{fault.pattern}{'-after' if fault.after else ''}",
)
def test_lost_reply_does_not_duplicate_rows(workspace: Workspace, fault: Fault) -> None:
    """Whatever reply is lost, each row is worked on once and the load ends by itself."""
    keys = fresh_keys(4)
    before = {info.id for info in _jobs(workspace)}
    stage(workspace, SUPPLIERS, keys, chunk_rows=2)
    fault.seen = 0
    _faulty(workspace, fault)
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["created"] == 4
    assert _in_org(workspace, keys) == keys
    assert _sent_rows(workspace, before) == 4


def test_foreign_open_job_is_left_alone(workspace: Workspace) -> None:
    """With more than one candidate for a lost create, a new job is made and nobody's job is touched."""
    foreign = workspace.salesforce.create_job(OBJECT, KEY)
    keys = fresh_keys(2)
    stage(workspace, SUPPLIERS, keys)
    _faulty(workspace, Fault("POST .*/jobs/ingest", is_lost, after=True))
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["created"] == 2
    found = workspace.salesforce.job(foreign.id)
    assert found is not None
    assert found.state == "Open"
    workspace.salesforce.abort_job(foreign.id)


def test_open_job_of_a_shared_user_is_never_adopted(workspace: Workspace) -> None:
    """Where other software logs in as the same user, the job of a lost create is left Open and another one is made."""
    workspace.settings.salesforce.shared_user = True
    before = {info.id for info in _jobs(workspace)}
    stage(workspace, SUPPLIERS, fresh_keys(2))
    _faulty(workspace, Fault("POST .*/jobs/ingest", is_lost, after=True))
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["created"] == 2
    states = {info.id: info.state for info in _jobs(workspace) if info.id not in before}
    assert sorted(states.values()) == ["JobComplete", "Open"]
    (left,) = (job for job, state in states.items() if state == "Open")
    assert not workspace.ledger.jobs.is_known(workspace.salesforce.org_id, left)
    workspace.salesforce.abort_job(left)


KILLS = [
    ("POST .*/jobs/ingest", "", 1),
    ("POST .*/jobs/ingest", "yes", 2),
    ("PUT .*/batches", "", 2),
    ("PUT .*/batches", "yes", 1),
    ("PATCH", "", 2),
    ("PATCH", "yes", 1),
    ("GET .*/jobs/ingest/", "", 2),
    ("GET .*successfulResults", "yes", 2),
    (COMMIT, "", 15),
    (RENAME, "", 3),
]
# A load of three chunks into an object that others use makes some 30 requests after its log-in and some 120 commits
# (those that only read included), and names some 26 files: three of each are those of the pre-images.
EVERY_KILL = [
    *((" /services/data", after, number) for number in range(1, 31) for after in ("", "yes")),
    *((COMMIT, "", number) for number in range(1, 120)),
    *((RENAME, "", number) for number in range(1, 28)),
]


@pytest.mark.parametrize(("pattern", "after", "number"), KILLS, ids=str)
def test_killed_load_goes_on_where_it_was(
    salesforce: SalesforceSettings, tmp_path: Path, pattern: str, after: str, number: int
) -> None:
    """SIGKILL at a request of a three-chunk load: the next run leaves exactly the right rows, each sent once."""
    assert _survives(salesforce, tmp_path, pattern, after, number)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_crash_point_is_survived(salesforce: SalesforceSettings, tmp_path: Path) -> None:
    """The same before and after each request, at each commit of the ledger and at each file's naming."""
    killed = [_survives(salesforce, tmp_path / str(number), *kill) for number, kill in enumerate(EVERY_KILL)]
    assert killed.count(True) > len(EVERY_KILL) * 3 // 4


def _survives(salesforce: SalesforceSettings, root: Path, pattern: str, after: str, number: int) -> bool:
    """Kill a load, run it again, check the org; False if the first load ended before its time to die."""
    root.mkdir(exist_ok=True)
    settings = salesforce.model_copy(update={"jobs_in_flight": 1})
    workspace = make_workspace(root, settings, "second-run", lease_s=0.5)
    keys = fresh_keys(6)
    before = {info.id for info in _jobs(workspace)}
    stage(workspace, SUPPLIERS, keys, chunk_rows=2)
    was_killed = kill(root, settings, pattern, after, number)
    stage_result = sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    where = (pattern, after, number)
    assert _in_org(workspace, keys) == keys, where
    assert _sent_rows(workspace, before) == 6, where
    assert (stage_result.detail["loaded"], stage_result.detail["created"]) == (6, 6), where
    assert read_manifest(_folder(workspace, stage_result), LoadManifest) is not None, where
    assert workspace.ledger.jobs.in_flight(workspace.environment.target_id) == 0, where
    assert workspace.ledger.audit.verify() == [], where
    close(workspace)
    return was_killed


def test_made_up_rows_are_taken_by_the_org(emulated: Callable[..., Emulator], tmp_path: Path) -> None:
    """What the bench sends are rows that a real object accepts, all of them, so that it measures a real load."""
    facts = emulated().facts
    csv_file = stage_sample(str(tmp_path / "sample"), facts, "KPS_T_SALES_M", 300)
    assert len(Path(csv_file).read_text().splitlines()) == 301
    assert load_sample(str(tmp_path / "sample"), facts, "KPS_T_SALES_M") == 300


def test_a_lost_load_manifest_is_written_by_another_load(workspace: Workspace) -> None:
    """The ledger knows of the load: it is not said to be missing, and the remedy in the message works."""
    stage(workspace, SUPPLIERS, fresh_keys(3))
    context = PartitionContext(workspace, SUPPLIERS)
    sf_loaded.materialize(context)
    published = published_load(context)
    files = list(Path(workspace.settings.staging.root).rglob("loaded-*/manifest.json"))
    assert len(files) == 1
    files[0].unlink()
    with pytest.raises(Terminal, match=r"is not in the staging directory\. Load again.*--stage sf_loaded"):
        published_load(context)
    sf_loaded.materialize(context)
    assert published_load(context).generation == published.generation
