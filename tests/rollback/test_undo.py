"""A partition can be taken out again: what it created, by recorded ids, nothing else; safe under kill and repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulated_org import Emulator
from faulty_transport import Fault, is_lost
from killing import kill
from load_child import COMMIT
from staged_samples import close, fresh_keys, make_workspace, put_foreign, stage

from assets.sf_loaded import sf_loaded
from kpc.errors import ConfigError, JobFailed, QuotaExhausted, Terminal
from kpc.load.mapped_chunks import begin_chunk, plan_load
from kpc.partition import find_partition
from kpc.rollback.partition_rollback import plan_rollback, roll_back
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
EMAILS = find_partition("KPS_R_EMAIL_SUPPLIER", "ALL")
OBJECT, KEY, PARENT = SUPPLIERS.table.target, "External_ID__c", "Pos_Supplier__r.External_ID__c"

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def workspace(emulated: Callable[..., Emulator], tmp_path: Path) -> Iterator[Workspace]:
    """An org of the test's own, whose every record is accounted for."""
    made = make_workspace(tmp_path, emulated().settings, "run-1")
    yield made
    close(made)


def _in_org(workspace: Workspace) -> list[str]:
    return sorted(record[KEY] for record in workspace.salesforce.query(f"SELECT {KEY} FROM {OBJECT}"))


@pytest.mark.parametrize("collection_rows", [0, 2000], ids=["by job", "by collections"])
def test_what_was_created_is_deleted_and_the_rest_stays(workspace: Workspace, collection_rows: int) -> None:
    """Records that stood there before and records nobody knows stay; the partition counts as not loaded."""
    workspace.settings.salesforce.collection_rows = collection_rows
    before, ours, foreign = fresh_keys(2), fresh_keys(5), fresh_keys(1)
    put_foreign(workspace, SUPPLIERS, [*before, *foreign])
    stage(workspace, SUPPLIERS, [*before, *ours])
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    plan = plan_rollback(PartitionContext(workspace, SUPPLIERS))
    assert (plan.created, plan.updated, plan.children) == (5, 2, ())
    assert _in_org(workspace) == sorted([*before, *ours, *foreign])
    done = roll_back(PartitionContext(workspace, SUPPLIERS))
    assert (done.created, done.updated, done.restored) == (5, 2, 2)
    assert _in_org(workspace) == sorted([*before, *foreign])
    assert not workspace.ledger.stages.is_loaded(workspace.environment, SUPPLIERS)
    assert not list(workspace.store.root.rglob("loaded_index.parquet"))
    batches = workspace.ledger.quota.used(workspace.environment.target_id)[1]
    assert batches == (3 if collection_rows == 0 else 1)  # load, delete, set back
    actions = [entry.action for entry in workspace.ledger.audit.entries()]
    assert actions[-1] == "sf_loaded rolled_back"
    assert workspace.ledger.audit.verify() == []


def test_partition_can_be_loaded_again_after_its_rollback(workspace: Workspace) -> None:
    """A new extract sends every row, also those that a later load had only found unchanged."""
    keys = fresh_keys(4)
    stage(workspace, SUPPLIERS, keys)
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    roll_back(PartitionContext(workspace, SUPPLIERS))
    with pytest.raises(ConfigError, match="not loaded"):
        roll_back(PartitionContext(workspace, SUPPLIERS))
    with pytest.raises(ConfigError, match="has not been extracted"):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    stage(workspace, SUPPLIERS, keys)
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["created"] == 4
    assert _in_org(workspace) == keys


def test_created_stays_true_over_another_upload(workspace: Workspace) -> None:
    """A record that we made and later sent again is still ours to remove."""
    keys = fresh_keys(3)
    stage(workspace, SUPPLIERS, keys)
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    stage(workspace, SUPPLIERS, keys[:2], values={keys[0]: {"Name_E__c": "changed"}})
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["created"] == 0
    assert roll_back(PartitionContext(workspace, SUPPLIERS)).created == 3
    assert _in_org(workspace) == []


def test_created_stays_true_when_results_did_not_add_up(emulated: Callable[..., Emulator], tmp_path: Path) -> None:
    """What an aborted job had created is remembered, although the next job finds it there already."""
    emulator = emulated("rows_per_s=5000")
    workspace = make_workspace(tmp_path, emulator.settings, "run-1")
    stage(workspace, SUPPLIERS, fresh_keys(12_000))
    (spec,) = plan_load(PartitionContext(workspace, SUPPLIERS))
    job_id = begin_chunk(workspace, spec)
    while (info := workspace.salesforce.job(job_id)) is None or info.processed < 10_000:
        pass
    workspace.salesforce.abort_job(job_id)
    with pytest.raises(JobFailed):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    emulator.switch(rows_per_s=0)
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["created"] == 12_000
    workspace.settings.salesforce.collection_rows = 0
    assert roll_back(PartitionContext(workspace, SUPPLIERS)).created == 12_000
    assert workspace.salesforce.count(OBJECT) == 0
    close(workspace)


def test_parent_stays_while_children_refer_to_it(workspace: Workspace) -> None:
    """The children are named; once they are out, the parent goes."""
    keys = fresh_keys(2)
    stage(workspace, SUPPLIERS, keys)
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    stage(workspace, EMAILS, keys, values={key: {PARENT: key} for key in keys})
    sf_loaded.materialize(PartitionContext(workspace, EMAILS))
    assert plan_rollback(PartitionContext(workspace, SUPPLIERS)).children == (EMAILS,)
    with pytest.raises(ConfigError, match="KPS_R_EMAIL_SUPPLIER"):
        roll_back(PartitionContext(workspace, SUPPLIERS))
    assert _in_org(workspace) == keys
    roll_back(PartitionContext(workspace, EMAILS))
    roll_back(PartitionContext(workspace, SUPPLIERS))
    assert _in_org(workspace) == []


def test_chunks_of_an_unpublished_load_are_undone_too(emulated: Callable[..., Emulator], tmp_path: Path) -> None:
    """A load that ended in the middle leaves records; they go as well."""
    workspace = make_workspace(tmp_path, emulated().settings, "run-1")
    workspace.settings.salesforce.jobs_in_flight = 1
    workspace.settings.salesforce.daily_batches = 2
    stage(workspace, SUPPLIERS, fresh_keys(6), chunk_rows=2)
    with pytest.raises(QuotaExhausted):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert len(_in_org(workspace)) == 4
    assert roll_back(PartitionContext(workspace, SUPPLIERS)).created == 4
    assert _in_org(workspace) == []
    close(workspace)


def test_undo_keeps_within_the_quota(workspace: Workspace) -> None:
    """A delete job is counted like any other and waits when the day is used up."""
    stage(workspace, SUPPLIERS, fresh_keys(2))
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    workspace.settings.salesforce.collection_rows = 0
    workspace.settings.salesforce.daily_batches = 1
    with pytest.raises(QuotaExhausted):
        roll_back(PartitionContext(workspace, SUPPLIERS))
    workspace.settings.salesforce.daily_batches = 2
    assert roll_back(PartitionContext(workspace, SUPPLIERS)).created == 2
    assert _in_org(workspace) == []


def test_records_that_salesforce_keeps_are_named(emulated: Callable[..., Emulator], tmp_path: Path) -> None:
    """What may not be deleted is reported by its code; the partition still counts as loaded, and a repeat ends it."""
    emulator = emulated()
    workspace = make_workspace(tmp_path, emulator.settings, "run-1")
    workspace.settings.salesforce.collection_rows = 0
    stage(workspace, SUPPLIERS, fresh_keys(3))
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    emulator.switch(refuse_rows="INSUFFICIENT_ACCESS_OR_READONLY")
    with pytest.raises(Terminal, match="INSUFFICIENT_ACCESS_OR_READONLY 3"):
        roll_back(PartitionContext(workspace, SUPPLIERS))
    assert workspace.ledger.stages.is_loaded(workspace.environment, SUPPLIERS)
    emulator.switch(refuse_rows="")
    assert roll_back(PartitionContext(workspace, SUPPLIERS)).created == 3
    assert _in_org(workspace) == []
    close(workspace)


@pytest.mark.parametrize("collection_rows", [0, 2000], ids=["by job", "by collections"])
@pytest.mark.parametrize("pattern", ["POST .*/jobs/ingest", "PUT", "PATCH", "DELETE"])
def test_lost_reply_of_a_delete_does_no_harm(workspace: Workspace, pattern: str, collection_rows: int) -> None:
    """Whatever reply is lost, the records are gone in the end and nothing else is."""
    workspace.settings.salesforce.collection_rows = collection_rows
    foreign, keys = fresh_keys(1), fresh_keys(3)
    put_foreign(workspace, SUPPLIERS, foreign)
    stage(workspace, SUPPLIERS, keys)
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    workspace.plant(Fault(pattern, is_lost, after=True))
    assert roll_back(PartitionContext(workspace, SUPPLIERS)).created == 3
    assert _in_org(workspace) == foreign


KILLS = [(" /services/data", after, number) for number in (1, 3, 4, 6) for after in ("", "yes")]
EVERY_KILL = [
    *((" /services/data", after, number) for number in range(1, 8) for after in ("", "yes")),
    *((COMMIT, "", number) for number in range(1, 30)),
]


@pytest.mark.parametrize(("pattern", "after", "number"), KILLS, ids=str)
def test_killed_rollback_goes_on_where_it_was(
    workspace: Workspace, tmp_path: Path, pattern: str, after: str, number: int
) -> None:
    """SIGKILL at a request: the next run leaves the org without the partition's records and with everything else."""
    _survives(workspace, tmp_path, pattern, after, number)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_crash_point_of_a_rollback_is_survived(workspace: Workspace, tmp_path: Path) -> None:
    """The same at each request and at each commit of the ledger."""
    killed = [_survives(workspace, tmp_path, *point) for point in EVERY_KILL]
    assert killed.count(True) > len(EVERY_KILL) // 2


def _survives(workspace: Workspace, root: Path, pattern: str, after: str, number: int) -> bool:
    settings: SalesforceSettings = workspace.settings.salesforce
    settings.collection_rows = 0
    workspace.settings.lease_s = 0.5
    foreign, keys = fresh_keys(1), fresh_keys(4)
    standing = _in_org(workspace)
    put_foreign(workspace, SUPPLIERS, foreign)
    stage(workspace, SUPPLIERS, keys)
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    was_killed = kill(root, settings, pattern, after, number, act="undo")
    if workspace.ledger.generations.current(workspace.environment, SUPPLIERS) is not None:
        roll_back(PartitionContext(workspace, SUPPLIERS))
    where = (pattern, after, number)
    assert _in_org(workspace) == sorted([*standing, *foreign]), where
    assert not workspace.ledger.stages.is_loaded(workspace.environment, SUPPLIERS), where
    assert workspace.ledger.jobs.in_flight(workspace.environment.target_id) == 0, where
    assert workspace.ledger.audit.verify() == [], where
    return was_killed
