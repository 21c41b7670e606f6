"""Rows that Salesforce refused can be listed, corrected and sent again, and everything adds up afterwards."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer
from staged_samples import close, make_workspace, stage

from assets.graph import materialize_lineage
from assets.sf_loaded import sf_loaded
from kpc.errors import ConfigError, Paused, QuotaExhausted
from kpc.ledger import OrgUsage
from kpc.partition import find_partition
from kpc.repair.corrections import corrections_of
from kpc.repair.refused_rows import export_refused, refused_rows
from kpc.repair.send_refused import send_refused
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace
from kpc.storage.layout import loaded_folder
from kpc.storage.manifests import LoadManifest
from kpc.storage.store import MANIFEST, read_manifest

SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
EMAILS = find_partition("KPS_R_EMAIL_SUPPLIER", "ALL")
KEY, PARENT = "External_ID__c", "Pos_Supplier__r.External_ID__c"

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def refused(workspace: Workspace) -> list[str]:
    """Keys of five e-mail rows in two chunks: 0, 3 and 4 are loaded, 1 has no parent, 2 too long a text."""
    prefix = uuid.uuid4().hex[:8]
    keys = [f"{prefix}-{number}" for number in range(5)]
    stage(workspace, SUPPLIERS, keys[:1])
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    values = {key: {PARENT: keys[0]} for key in keys}
    values |= {keys[1]: {PARENT: f"{prefix}-later"}, keys[2]: {PARENT: keys[0], "Email__c": "x@" * 60}}
    stage(workspace, EMAILS, keys, chunk_rows=3, values=values)
    assert sf_loaded.materialize(PartitionContext(workspace, EMAILS)).detail["failed"] == 2
    return keys


def _edit(file: Path, changes: dict[str, dict[str, str]]) -> None:
    """Correct cells by external id and leave the other lines out, as a person would."""
    with file.open(newline="") as text:
        rows = list(csv.DictReader(text))
    kept = [{**row, **changes[row[KEY]]} for row in rows if row[KEY] in changes]
    with file.open("w", newline="") as text:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)


def _manifest(workspace: Workspace) -> LoadManifest:
    generation = workspace.ledger.generations.current(workspace.environment, EMAILS)
    assert generation is not None
    folder = PartitionContext(workspace, EMAILS).paths.generation(generation.id).folder
    manifest = read_manifest(folder / loaded_folder(EMAILS.table.mapping_version), LoadManifest)
    assert manifest is not None
    return manifest


def _index(workspace: Workspace) -> list[str]:
    folder = PartitionContext(workspace, EMAILS).paths.folder
    return sorted(pl.read_parquet(folder / "loaded_index.parquet")["external_id"])


def test_export_holds_the_refused_rows_and_only_its_owner_reads_it(
    workspace: Workspace, refused: list[str], tmp_path: Path
) -> None:
    """Every refused row is there with its values, its class and its code; the file is private."""
    file = tmp_path / "failed.csv"
    assert export_refused([PartitionContext(workspace, EMAILS)], EMAILS.table, file) == 2
    rows = pl.read_csv(file, infer_schema=False)
    assert rows[KEY].to_list() == refused[1:3]
    assert rows["_class"].to_list() == ["dependency", "data"]
    assert rows["Email__c"][1] == "x@" * 60
    assert file.stat().st_mode & 0o077 == 0


def test_corrected_row_is_sent_without_a_batch_and_everything_adds_up(
    workspace: Workspace, refused: list[str], tmp_path: Path
) -> None:
    """An imported correction is loaded; ledger, files, counts and index are as if it had never failed."""
    batches = workspace.ledger.quota.used(workspace.environment.target_id)
    file = tmp_path / "failed.csv"
    export_refused([PartitionContext(workspace, EMAILS)], EMAILS.table, file)
    _edit(file, {refused[2]: {"Email__c": "right@example.org"}})
    edits = corrections_of(file, EMAILS.table, [PartitionContext(workspace, EMAILS)])
    repair = send_refused(PartitionContext(workspace, EMAILS), edits["ALL"])
    assert (repair.sent, repair.loaded, repair.parked, repair.quarantined) == (1, 1, 1, 0)
    assert workspace.ledger.quota.used(workspace.environment.target_id) == batches
    manifest = _manifest(workspace)
    assert (manifest.staged, manifest.loaded, manifest.created, manifest.failed) == (5, 4, 4, 1)
    assert [r.external_id for r in workspace.ledger.failures.of_partition(workspace.environment, EMAILS)] == [
        refused[1]
    ]
    assert _index(workspace) == [refused[0], *refused[2:]]
    assert workspace.ledger.stages.is_loaded(workspace.environment, EMAILS)
    found = list(workspace.salesforce.query(f"SELECT Email__c FROM {EMAILS.table.target} WHERE {KEY} = '{refused[2]}'"))
    assert [record["Email__c"] for record in found] == ["right@example.org"]
    assert workspace.ledger.audit.verify() == []


def test_dependency_is_parked_until_its_parent_is_there(workspace: Workspace, refused: list[str]) -> None:
    """A retry leaves it alone while the parent's partition is not loaded; after that it goes through."""
    parents = [refused[0], refused[1].rsplit("-", 1)[0] + "-later"]
    stage(workspace, SUPPLIERS, parents)
    repair = send_refused(PartitionContext(workspace, EMAILS))
    assert (repair.sent, repair.parked, repair.quarantined) == (0, 1, 1)
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    repair = send_refused(PartitionContext(workspace, EMAILS))
    assert (repair.sent, repair.loaded, repair.parked, repair.quarantined) == (1, 1, 0, 1)
    again = send_refused(PartitionContext(workspace, EMAILS))
    assert (again.sent, again.quarantined) == (0, 1)
    assert _manifest(workspace).failed == 1


def test_row_that_fails_again_counts_its_attempts(workspace: Workspace, refused: list[str], tmp_path: Path) -> None:
    """A correction that Salesforce refuses is refused once more, with one attempt more."""
    file = tmp_path / "failed.csv"
    export_refused([PartitionContext(workspace, EMAILS)], EMAILS.table, file)
    _edit(file, {refused[1]: {PARENT: "still-not-there"}})
    repair = send_refused(
        PartitionContext(workspace, EMAILS),
        corrections_of(file, EMAILS.table, [PartitionContext(workspace, EMAILS)])["ALL"],
    )
    assert (repair.sent, repair.loaded) == (1, 0)
    records = {r.external_id: r for r in workspace.ledger.failures.of_partition(workspace.environment, EMAILS)}
    assert (records[refused[1]].attempts, records[refused[2]].attempts) == (2, 1)
    assert refused_rows(PartitionContext(workspace, EMAILS)).filter(pl.col(KEY) == refused[1])[PARENT].to_list() == [
        "still-not-there"
    ]


def test_killed_repair_is_mended_by_the_next_load(workspace: Workspace, refused: list[str], tmp_path: Path) -> None:
    """Between the booking of a chunk and the publishing there is no manifest; whoever comes next publishes."""
    file = tmp_path / "failed.csv"
    export_refused([PartitionContext(workspace, EMAILS)], EMAILS.table, file)
    _edit(file, {refused[2]: {"Email__c": "right@example.org"}})
    edits = corrections_of(file, EMAILS.table, [PartitionContext(workspace, EMAILS)])["ALL"]
    index = PartitionContext(workspace, EMAILS).paths.folder / "loaded_index.parquet"
    index.rename(index.with_suffix(".away"))
    index.mkdir()  # the publishing ends here, as by a kill
    with pytest.raises(ConfigError, match="Is a directory"):
        send_refused(PartitionContext(workspace, EMAILS), edits)
    index.rmdir()
    index.with_suffix(".away").rename(index)
    assert not list(tmp_path.rglob(f"loaded-*/{MANIFEST}")) or _is_unpublished(workspace)
    assert sf_loaded.materialize(PartitionContext(workspace, EMAILS)).detail["loaded"] == 4
    assert _index(workspace) == [refused[0], *refused[2:]]


def _is_unpublished(workspace: Workspace) -> bool:
    generation = workspace.ledger.generations.current(workspace.environment, EMAILS)
    assert generation is not None
    folder = PartitionContext(workspace, EMAILS).paths.generation(generation.id).folder
    return read_manifest(folder / loaded_folder(EMAILS.table.mapping_version), LoadManifest) is None


def test_paused_or_without_api_calls_nothing_is_sent(workspace: Workspace, refused: list[str]) -> None:
    """A retry heeds the kill switch and the budget of API calls."""
    ledger, environment = workspace.ledger, workspace.environment
    stage(workspace, SUPPLIERS, [refused[0], refused[1].rsplit("-", 1)[0] + "-later"])
    sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    ledger.pauses.start(environment, "phase", "reference", actor="test")
    with pytest.raises(Paused):
        send_refused(PartitionContext(workspace, EMAILS))
    ledger.pauses.lift(environment, "all", "all", actor="test")
    ledger.quota.record_limits(environment.target_id, OrgUsage(15_000, 0, 1000, 1000))
    with pytest.raises(QuotaExhausted, match="API calls"):
        send_refused(PartitionContext(workspace, EMAILS))
    assert _manifest(workspace).failed == 2


def test_object_stops_when_the_org_itself_refuses(emulated: Callable[..., Emulator], tmp_path: Path) -> None:
    """More rows refused for want of storage than the settings allow pause the object; no further job begins."""
    workspace = make_workspace(tmp_path, emulated("refuse_rows=STORAGE_LIMIT_EXCEEDED").settings, "run-1")
    workspace.settings.salesforce.org_error_rows = 3
    workspace.settings.salesforce.jobs_in_flight = 1
    stage(workspace, SUPPLIERS, [f"key-{number}" for number in range(12)], chunk_rows=4)
    with pytest.raises(Paused, match="refused by the org's triggers, permissions or storage"):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert len(list(workspace.salesforce.list_jobs())) == 1
    assert {r.error_class for r in workspace.ledger.failures.of_partition(workspace.environment, SUPPLIERS)} == {"org"}
    close(workspace)


def test_repaired_row_is_an_exception_that_reconciles(
    oracles: Callable[..., OracleServer],
    emulated: Callable[..., Emulator],
    workspaces: Callable[..., Workspace],
    tmp_path: Path,
) -> None:
    """A child of no parent is refused, corrected by a person, and proven as corrected, also after another extract."""
    source = oracles("--rows", "1500", "--months", "2024-01")
    workspace = workspaces(source, emulated().settings)
    source.execute("INSERT INTO KPS_R_EMAIL_SUPPLIER (POS_SUPPLIER_CODE, SEQ, NAMES) VALUES ('ZZZ', 77, 'Nobody')")
    list(materialize_lineage(PartitionContext(workspace, SUPPLIERS)))
    (parent,) = workspace.salesforce.query(f"SELECT {KEY} FROM {SUPPLIERS.table.target} LIMIT 1")
    made = results_by_stage(PartitionContext(workspace, EMAILS))
    assert made["reconciled"].state == "reconciled_with_exceptions"
    file = tmp_path / "failed.csv"
    assert export_refused([PartitionContext(workspace, EMAILS)], EMAILS.table, file) == 1
    _edit(file, {"ZZZ|77": {PARENT: parent[KEY], "Names__c": "Somebody"}})
    context = PartitionContext(workspace, EMAILS)
    corrections = corrections_of(file, EMAILS.table, [context], "Names__c")
    assert send_refused(context, corrections["ALL"]).loaded == 1
    (proof,) = materialize_lineage(PartitionContext(workspace, EMAILS), stages=("reconciled",))
    assert proof.state == "reconciled_with_exceptions"
    assert (proof.detail["exceptions"], proof.detail["repaired"]) == (0, 1)
    assert [proof.detail[f"level{level}"] for level in (1, 2, 3)] == ["pass"] * 3
    again = results_by_stage(PartitionContext(workspace, EMAILS))
    assert again["staged_csv"].rows == 0
    assert again["reconciled"].detail["repaired"] == 1
    source.execute("UPDATE KPS_R_EMAIL_SUPPLIER SET POS_SUPPLIER_CODE = 'ZZZ', NAMES = 'Third' WHERE SEQ = 77")
    third = {
        result.stage: result
        for result in materialize_lineage(PartitionContext(workspace, EMAILS), stages=("oracle_extract", "staged_csv"))
    }
    assert third["staged_csv"].rows == 1
