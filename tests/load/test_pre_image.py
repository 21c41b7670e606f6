"""What a load changes is kept as it was before and set back by a rollback; what others changed since is not."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulated_org import Emulator
from faulty_transport import Fault, is_lost
from killing import kill
from load_child import COMMIT, RENAME
from staged_samples import close, fresh_keys, make_workspace, put_foreign, stage

from assets.sf_loaded import sf_loaded
from kpc.errors import JobFailed, Paused, QuotaExhausted, Terminal
from kpc.ledger import OrgUsage
from kpc.load.mapped_chunks import begin_chunk, plan_load
from kpc.load.org_records import image_header
from kpc.partition import Partition, find_partition
from kpc.repair.corrections import corrections_of
from kpc.repair.refused_rows import export_refused
from kpc.repair.send_refused import send_refused
from kpc.rollback.partition_rollback import plan_rollback, roll_back
from kpc.salesforce.soql import text_at
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
EMAILS = find_partition("KPS_R_EMAIL_SUPPLIER", "ALL")
KEY, NAME, CITY, PARENT = "External_ID__c", "Name_E__c", "City__c", "Pos_Supplier__r.External_ID__c"

State = dict[str, dict[str, str | None]]


pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def workspace(emulated: Callable[..., Emulator], tmp_path: Path) -> Iterator[Workspace]:
    """An org of the test's own, whose every record is accounted for."""
    made = make_workspace(tmp_path, emulated().settings, "run-1")
    yield made
    close(made)


def _put(workspace: Workspace, keys: list[str], partition: Partition = SUPPLIERS, **cells: str) -> None:
    put_foreign(workspace, partition, keys, **cells)


def _org(workspace: Workspace, partition: Partition = SUPPLIERS) -> State:
    """Every record of an object by external id, in all fields that a load writes."""
    header = image_header(partition.table)
    found = workspace.salesforce.query(f"SELECT {', '.join(header)} FROM {partition.table.target}")
    return {record[KEY]: {name: text_at(record, name) for name in header} for record in found}


def _load(workspace: Workspace, keys: list[str], **cells: str) -> dict[str, int | str]:
    stage(workspace, SUPPLIERS, keys, values={key: {NAME: f"ours {key}", **cells} for key in keys}, chunk_rows=4)
    return sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail


@pytest.mark.parametrize("collection_rows", [0, 2000], ids=["by jobs", "by REST"])
def test_what_existed_is_as_before_and_what_was_created_is_gone(workspace: Workspace, collection_rows: int) -> None:
    """Some records were there, some not, some are none of ours: after the rollback the org is what it was."""
    workspace.settings.salesforce.collection_rows = collection_rows
    there, ours, foreign = fresh_keys(3), fresh_keys(6), fresh_keys(2)
    _put(workspace, there, **{NAME: 'old "name", ไทย', CITY: "Old\nTown"})
    _put(workspace, foreign)
    before = _org(workspace)
    detail = _load(workspace, [*there, *ours])
    assert (detail["created"], detail["pre_image"]) == (6, 3)
    assert _org(workspace)[there[0]][NAME] == f"ours {there[0]}"
    plan = plan_rollback(PartitionContext(workspace, SUPPLIERS))
    assert (plan.created, plan.updated, plan.imaged) == (6, 3, 3)
    done = roll_back(PartitionContext(workspace, SUPPLIERS))
    assert (done.created, done.restored, done.left, done.changed, done.differing) == (6, 3, 0, 0, 0)
    assert _org(workspace) == before
    jobs = {(info.operation, info.state) for info in workspace.salesforce.list_jobs()}
    assert (("update", "JobComplete") in jobs) is (collection_rows == 0)


def test_an_image_is_private_and_sealed(workspace: Workspace) -> None:
    """Its file holds personal values: only its owner may read it, and its result names its sha256."""
    there = fresh_keys(1)
    _put(workspace, there)
    _load(workspace, there)
    (image,) = workspace.store.root.rglob("*.pre-image.csv.gz")
    assert stat.S_IMODE(image.stat().st_mode) == 0o600
    assert stat.S_IMODE(image.parent.stat().st_mode) == 0o700
    assert {path.name for path in image.parent.iterdir()} == {image.name, "chunk-00001.json"}
    image.write_bytes(image.read_bytes()[:-1])
    with pytest.raises(Exception, match="has changed since it was written"):
        roll_back(PartitionContext(workspace, SUPPLIERS))


def test_parents_and_nulls_are_set_back(workspace: Workspace) -> None:
    """Records have their old parents and empty fields again, also a parent that has no external id."""
    ours, theirs = fresh_keys(2)
    _put(workspace, [ours, theirs])
    named, unnamed = there = fresh_keys(2)
    _put(workspace, there, EMAILS, **{PARENT: theirs, "Names__c": "#N/A", "Email__c": "a@b.co"})
    nameless = {name: text for name, text in _org(workspace)[ours].items() if name not in ("Id", KEY)}
    parent = workspace.salesforce.tell("POST", f"/sobjects/{SUPPLIERS.table.target}", nameless)["id"]
    child = _org(workspace, EMAILS)[unnamed]["Id"]
    workspace.salesforce.tell("PATCH", f"/sobjects/{EMAILS.table.target}/{child}", {"Pos_Supplier__c": parent})
    before = _org(workspace, EMAILS)
    assert before[named]["Pos_Supplier__c"] != before[unnamed]["Pos_Supplier__c"] == parent
    cells = {PARENT: ours, "Names__c": "New", "Email__c": "#N/A"}
    stage(workspace, EMAILS, there, values={named: cells, unnamed: cells})
    assert sf_loaded.materialize(PartitionContext(workspace, EMAILS)).detail["pre_image"] == 2
    assert {record["Pos_Supplier__c"] for record in _org(workspace, EMAILS).values()} == {_org(workspace)[ours]["Id"]}
    assert roll_back(PartitionContext(workspace, EMAILS)).restored == 2
    assert _org(workspace, EMAILS) == before


def test_ids_that_differ_in_case_are_one_record(workspace: Workspace) -> None:
    """Salesforce finds a record whatever the case of its external id; so does the image, also by a range."""
    workspace.settings.salesforce.collection_rows = 0
    (key,) = fresh_keys(1)
    _put(workspace, [key.upper()], **{NAME: "old"})
    before = _org(workspace)
    assert _load(workspace, [key, *fresh_keys(1)])["pre_image"] == 1
    done = roll_back(PartitionContext(workspace, SUPPLIERS))
    assert (done.created, done.restored, done.changed) == (1, 1, 0)
    assert _org(workspace) == before


def test_the_oldest_image_counts_over_generations(workspace: Workspace) -> None:
    """A second load keeps no image of what the first one wrote, only of records that it is the first to touch."""
    first, later = fresh_keys(2), fresh_keys(2)
    _put(workspace, [*first, *later], **{NAME: "old"})
    before = _org(workspace)
    assert _load(workspace, first)["pre_image"] == 2
    assert _load(workspace, [*first, *later], **{CITY: "second"})["pre_image"] == 2
    done = roll_back(PartitionContext(workspace, SUPPLIERS))
    assert (done.restored, done.left, done.changed) == (4, 0, 0)
    assert _org(workspace) == before


def test_a_partition_that_was_rolled_back_is_kept_anew(workspace: Workspace) -> None:
    """The next load takes a new image, and old ones no longer count: what changed in between stays."""
    there = fresh_keys(2)
    _put(workspace, there, **{NAME: "old"})
    _load(workspace, there)
    roll_back(PartitionContext(workspace, SUPPLIERS))
    _put(workspace, there, **{NAME: "newer"})
    before = _org(workspace)
    assert _load(workspace, there)["pre_image"] == 2
    assert roll_back(PartitionContext(workspace, SUPPLIERS)).restored == 2
    assert _org(workspace) == before


def test_text_that_means_null_in_a_file_is_left_alone(workspace: Workspace) -> None:
    """A field that really holds `#N/A` would come back empty: its record is not kept and counts as left."""
    (key,) = there = fresh_keys(1)
    _put(workspace, there)
    target = f"/sobjects/{SUPPLIERS.table.target}/{_org(workspace)[key]['Id']}"
    workspace.salesforce.tell("PATCH", target, {NAME: "#N/A"})
    assert _org(workspace)[key][NAME] == "#N/A"
    assert "pre_image" not in _load(workspace, there)
    done = roll_back(PartitionContext(workspace, SUPPLIERS))
    assert (done.restored, done.left) == (0, 1)
    assert _org(workspace)[key][NAME] == f"ours {key}"


@pytest.mark.parametrize("collection_rows", [0, 2000], ids=["by jobs", "by REST"])
def test_what_others_changed_since_is_left(workspace: Workspace, collection_rows: int) -> None:
    """A record that no longer holds what we wrote is reported and not overwritten, deleted ones do not come back."""
    workspace.settings.salesforce.collection_rows = collection_rows
    kept, changed, gone = there = fresh_keys(3)
    _put(workspace, there, **{NAME: "old"})
    before = _org(workspace)
    _load(workspace, there)
    loaded = _org(workspace)
    target = f"/sobjects/{SUPPLIERS.table.target}"
    workspace.salesforce.tell("PATCH", f"{target}/{loaded[changed]['Id']}", {CITY: "Elsewhere"})
    workspace.salesforce.tell("DELETE", f"{target}/{loaded[gone]['Id']}", {})
    done = roll_back(PartitionContext(workspace, SUPPLIERS))
    assert (done.restored, done.changed, done.left, done.differing) == (1, 1, 2, 0)
    assert _org(workspace) == {kept: before[kept], changed: {**loaded[changed], CITY: "Elsewhere"}}
    entry = next(one for one in reversed(workspace.ledger.audit.entries()) if one.action == "sf_loaded rolled_back")
    assert (entry.detail["restored"], entry.detail["changed"]) == (1, 1)


def test_rows_that_were_refused_are_not_set_back(workspace: Workspace) -> None:
    """Nobody of us touched their record; what others wrote into it meanwhile stays."""
    good, bad = there = fresh_keys(2)
    _put(workspace, there, **{NAME: "old"})
    before = _org(workspace)
    stage(workspace, SUPPLIERS, there, values={good: {NAME: "ours"}, bad: {NAME: "x" * 200}})
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["failed"] == 1
    workspace.salesforce.tell("PATCH", f"/sobjects/{SUPPLIERS.table.target}/{before[bad]['Id']}", {CITY: "Elsewhere"})
    done = roll_back(PartitionContext(workspace, SUPPLIERS))
    assert (done.restored, done.changed, done.left) == (1, 0, 0)
    assert _org(workspace) == {good: before[good], bad: {**before[bad], CITY: "Elsewhere"}}


def test_corrected_rows_are_set_back_too(workspace: Workspace, tmp_path: Path) -> None:
    """What a person typed in place of Oracle's value is ours as well, not a change by somebody else."""
    (key,) = there = fresh_keys(1)
    _put(workspace, there, **{NAME: "old"})
    before = _org(workspace)
    stage(workspace, SUPPLIERS, there, values={key: {NAME: "x" * 200}})
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    file = tmp_path / "failed.csv"
    export_refused([PartitionContext(workspace, SUPPLIERS)], SUPPLIERS.table, file)
    file.write_text(file.read_text().replace("x" * 200, "typed"))
    assert (
        send_refused(
            PartitionContext(workspace, SUPPLIERS),
            corrections_of(file, SUPPLIERS.table, [PartitionContext(workspace, SUPPLIERS)])["ALL"],
        ).loaded
        == 1
    )
    assert _org(workspace)[key][NAME] == "typed"
    assert roll_back(PartitionContext(workspace, SUPPLIERS)).restored == 1
    assert _org(workspace) == before


def test_half_a_job_that_was_never_read_is_set_back(emulated: Callable[..., Emulator], tmp_path: Path) -> None:
    """A job ended in the middle and nobody read what it did: the records themselves tell which it touched."""
    emulator = emulated("rows_per_s=5000")
    workspace = make_workspace(tmp_path, emulator.settings, "run-1")
    there = fresh_keys(12_000)
    stage(workspace, SUPPLIERS, there, values={key: {NAME: "old"} for key in there})
    emulator.switch(rows_per_s=0)
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    close(workspace)
    # Another ledger: to it these records are somebody else's.
    second = make_workspace(tmp_path / "second", emulator.settings, "run-2")
    before = _org(second)
    emulator.switch(rows_per_s=5000)
    stage(second, SUPPLIERS, there, values={key: {NAME: "ours"} for key in there})
    (spec,) = plan_load(PartitionContext(second, SUPPLIERS))
    job_id = begin_chunk(second, spec)
    while (info := second.salesforce.job(job_id)) is None or info.processed < 10_000:
        pass
    second.salesforce.abort_job(job_id)
    emulator.switch(rows_per_s=0)
    with pytest.raises(JobFailed):
        sf_loaded.materialize(PartitionContext(second, SUPPLIERS))
    touched = sum(record[NAME] == "ours" for record in _org(second).values())
    assert 0 < touched < len(there)
    assert roll_back(PartitionContext(second, SUPPLIERS)).restored == touched
    assert _org(second) == before
    close(second)


def test_an_empty_object_costs_one_question(workspace: Workspace) -> None:
    """In mode auto an object that was empty at the start is not read any more, and its loads keep nothing."""
    keys = fresh_keys(3)
    transport = workspace.plant()
    assert "pre_image" not in _load(workspace, keys)
    assert "pre_image" not in _load(workspace, keys, **{CITY: "again"})
    assert sum(request.endswith("/query") for request in transport.requests) == 1
    assert not list(workspace.store.root.rglob("pre-image-*"))
    assert roll_back(PartitionContext(workspace, SUPPLIERS)).created == 3


@pytest.mark.parametrize(("mode", "images"), [("off", 0), ("on", 1), ("auto", 1)])
def test_the_setting_decides(workspace: Workspace, mode: str, images: int) -> None:
    """Without an image a rollback leaves what was changed and says so."""
    workspace.settings.load.pre_image = mode  # type: ignore[assignment]
    there = fresh_keys(1)
    _put(workspace, there, **{NAME: "old"})
    assert _load(workspace, there).get("pre_image", 0) == images
    done = roll_back(PartitionContext(workspace, SUPPLIERS))
    assert (done.restored, done.left) == (images, 1 - images)
    assert _org(workspace)[there[0]][NAME] == ("old" if images else f"ours {there[0]}")


def test_an_image_is_taken_before_anything_is_spent(workspace: Workspace) -> None:
    """A pause and an exhausted budget of API calls stop it first; no job exists and no quota is used."""
    there = fresh_keys(1)
    _put(workspace, there)
    stage(workspace, SUPPLIERS, there)
    ledger, environment = workspace.ledger, workspace.environment
    ledger.pauses.start(environment, "all", "all", actor="test")
    with pytest.raises(Paused):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    ledger.pauses.lift(environment, "all", "all", actor="test")
    ledger.quota.record_limits(environment.target_id, OrgUsage(15_000, 0, 1000, 1000))
    with pytest.raises(QuotaExhausted, match="API calls"):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert not list(workspace.store.root.rglob("*.pre-image.csv.gz"))
    assert list(workspace.salesforce.list_jobs()) == []
    assert ledger.quota.used(environment.target_id) == (0, 0)


def test_quota_that_ends_half_way_is_waited_for(workspace: Workspace) -> None:
    """The deletions are done, the restoring waits; what others change meanwhile is left, the rest is set back."""
    workspace.settings.salesforce.collection_rows = 0
    workspace.settings.salesforce.daily_batches = 3
    kept, changed = there = fresh_keys(2)
    ours = fresh_keys(2)
    _put(workspace, there, **{NAME: "old"})
    before = _org(workspace)
    stage(workspace, SUPPLIERS, [*there, *ours], values={key: {NAME: "ours"} for key in there}, chunk_rows=2)
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    with pytest.raises(QuotaExhausted):
        roll_back(PartitionContext(workspace, SUPPLIERS))
    half = _org(workspace)
    assert sorted(half) == sorted(there)
    assert {record[NAME] for record in half.values()} == {"ours"}
    workspace.salesforce.tell("PATCH", f"/sobjects/{SUPPLIERS.table.target}/{half[changed]['Id']}", {CITY: "Elsewhere"})
    workspace.settings.salesforce.daily_batches = 10
    done = roll_back(PartitionContext(workspace, SUPPLIERS))
    assert (done.created, done.restored, done.changed) == (2, 1, 1)
    assert _org(workspace) == {kept: before[kept], changed: {**half[changed], CITY: "Elsewhere"}}
    assert workspace.ledger.quota.used(workspace.environment.target_id)[1] == 4


def test_a_rollback_that_was_interrupted_by_more_work_plans_anew(workspace: Workspace, tmp_path: Path) -> None:
    """Rows that were loaded after a rollback had begun are undone as well when it goes on."""
    workspace.settings.salesforce.collection_rows = 0
    workspace.settings.salesforce.daily_batches = 2
    there, (bad_old, bad_new), ours = fresh_keys(2), fresh_keys(2), fresh_keys(1)
    _put(workspace, [*there, bad_old], **{NAME: "old"})
    before = _org(workspace)
    values = {key: {NAME: "x" * 200} for key in (bad_old, bad_new)}
    stage(workspace, SUPPLIERS, [*there, bad_old, bad_new, *ours], values=values)
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["failed"] == 2
    with pytest.raises(QuotaExhausted):
        roll_back(PartitionContext(workspace, SUPPLIERS))
    file = tmp_path / "failed.csv"
    export_refused([PartitionContext(workspace, SUPPLIERS)], SUPPLIERS.table, file)
    file.write_text(file.read_text().replace("x" * 200, "typed"))
    assert (
        send_refused(
            PartitionContext(workspace, SUPPLIERS),
            corrections_of(file, SUPPLIERS.table, [PartitionContext(workspace, SUPPLIERS)])["ALL"],
        ).loaded
        == 2
    )
    workspace.settings.salesforce.daily_batches = 10
    done = roll_back(PartitionContext(workspace, SUPPLIERS))
    assert (done.created, done.restored, done.left) == (2, 3, 0)
    assert _org(workspace) == before


@pytest.mark.parametrize("collection_rows", [0, 2000], ids=["by jobs", "by REST"])
def test_records_that_salesforce_does_not_take_back_are_named(
    emulated: Callable[..., Emulator], tmp_path: Path, collection_rows: int
) -> None:
    """The partition still counts as loaded; once the cause is removed a repeat ends it, with everything counted."""
    emulator = emulated()
    workspace = make_workspace(tmp_path, emulator.settings, "run-1")
    workspace.settings.salesforce.collection_rows = collection_rows
    there = fresh_keys(2)
    _put(workspace, there, **{NAME: "old"})
    before = _org(workspace)
    _load(workspace, there)
    emulator.switch(refuse_rows="INSUFFICIENT_ACCESS_OR_READONLY")
    with pytest.raises(Terminal, match=r"did not restore 2 of 2 .* INSUFFICIENT_ACCESS_OR_READONLY 2"):
        roll_back(PartitionContext(workspace, SUPPLIERS))
    assert workspace.ledger.stages.is_loaded(workspace.environment, SUPPLIERS)
    emulator.switch(refuse_rows="")
    assert roll_back(PartitionContext(workspace, SUPPLIERS)).restored == 2
    assert _org(workspace) == before
    close(workspace)


@pytest.mark.parametrize("collection_rows", [0, 2000], ids=["by jobs", "by REST"])
@pytest.mark.parametrize("pattern", ["POST .*/jobs/ingest", "PUT", "PATCH", "/query", "successfulResults"])
def test_lost_replies_do_no_harm(workspace: Workspace, pattern: str, collection_rows: int) -> None:
    """Whatever reply is lost on the way there and on the way back, the org is in the end as it was."""
    workspace.settings.salesforce.collection_rows = collection_rows
    there = fresh_keys(2)
    _put(workspace, there, **{NAME: "old"})
    before = _org(workspace)
    _lose(workspace, pattern)
    _load(workspace, [*there, *fresh_keys(1)])
    _lose(workspace, pattern)
    done = roll_back(PartitionContext(workspace, SUPPLIERS))
    assert (done.created, done.restored, done.differing) == (1, 2, 0)
    assert _org(workspace) == before


def _lose(workspace: Workspace, pattern: str) -> None:
    workspace.plant(Fault(pattern, is_lost, after=True))


LOADS = [
    (" /services/data", "yes", 3),
    ("POST .*/jobs/ingest", "", 1),
    ("PUT .*/batches", "yes", 1),
    ("PATCH", "yes", 1),
    ("GET .*successfulResults", "", 1),
]


@pytest.mark.parametrize(("pattern", "after", "number"), LOADS, ids=str)
def test_killed_load_keeps_the_first_image(
    workspace: Workspace, tmp_path: Path, pattern: str, after: str, number: int
) -> None:
    """SIGKILL at a request of the load: the run that goes on does not take what we wrote for what was there."""
    workspace.settings.lease_s = 0.5
    there, ours = fresh_keys(2), fresh_keys(2)
    _put(workspace, there, **{NAME: "old"})
    before = _org(workspace)
    stage(workspace, SUPPLIERS, [*there, *ours], values={key: {NAME: "ours"} for key in there})
    assert kill(tmp_path, workspace.settings.salesforce, pattern, after, number)
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert {record[NAME] for record in _org(workspace).values()} >= {"ours"}
    done = roll_back(PartitionContext(workspace, SUPPLIERS))
    assert (done.created, done.restored, done.left) == (2, 2, 0)
    assert _org(workspace) == before


# A rollback with one deletion and one restoring makes some 22 requests after its log-in and some 50 commits (those that
# only read included), and names eight files.
KILLS = [
    ("POST .*/jobs/ingest", "yes", 2),
    ("PUT .*/batches", "yes", 2),
    ("PATCH", "", 2),
    ("PATCH", "yes", 2),
    ("GET .*/query", "yes", 2),
    (RENAME, "", 3),
]
EVERY_KILL = [
    *((" /services/data", after, number) for number in range(1, 25) for after in ("", "yes")),
    *((COMMIT, "", number) for number in range(1, 56, 2)),
    *((RENAME, "", number) for number in range(1, 10)),
]


@pytest.mark.parametrize(("pattern", "after", "number"), KILLS, ids=str)
def test_killed_rollback_sets_back_in_the_end(
    workspace: Workspace, tmp_path: Path, pattern: str, after: str, number: int
) -> None:
    """SIGKILL at a request or at a file's naming: the next rollback leaves the org as it was before the load."""
    assert _survives(workspace, tmp_path, pattern, after, number)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_every_crash_point_of_a_restoring_rollback_is_survived(workspace: Workspace, tmp_path: Path) -> None:
    """The same before and after each request, at every other commit of the ledger and at each file's naming."""
    killed = [_survives(workspace, tmp_path, *point) for point in EVERY_KILL]
    assert killed.count(True) > len(EVERY_KILL) * 3 // 4


def _survives(workspace: Workspace, root: Path, pattern: str, after: str, number: int) -> bool:
    workspace.settings.salesforce.collection_rows = 0
    workspace.settings.lease_s = 0.5
    there, ours = fresh_keys(2), fresh_keys(2)
    _put(workspace, there, **{NAME: "old"})
    before = _org(workspace)
    _load(workspace, [*there, *ours])
    was_killed = kill(root, workspace.settings.salesforce, pattern, after, number, act="undo")
    if workspace.ledger.generations.current(workspace.environment, SUPPLIERS) is not None:
        done = roll_back(PartitionContext(workspace, SUPPLIERS))
        where = (pattern, after, number)
        assert (done.created, done.restored, done.left, done.differing) == (2, 2, 0, 0), where
    assert _org(workspace) == before, (pattern, after, number)
    assert workspace.ledger.jobs.in_flight(workspace.environment.target_id) == 0, (pattern, after, number)
    assert workspace.ledger.audit.verify() == [], (pattern, after, number)
    return was_killed
