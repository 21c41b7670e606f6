"""`kpc purge`: what is due and not needed is removed, with a tombstone; reconciled data can still be compared."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer

from kpc.campaign.audit import check_audit, places_of
from kpc.campaign.file_kinds import FileKind
from kpc.campaign.plan import plan_campaign
from kpc.campaign.purge import ACTION, PurgeResult, PurgeWish, purge
from kpc.campaign.sign_off import sign_off
from kpc.errors import ConfigError, Mismatch
from kpc.ledger.sign_offs import Signer
from kpc.ledger.vouching import VOUCHED
from kpc.partition import Partition, find_partition
from kpc.reconcile.report import last_report
from kpc.settings import SignOffSettings
from kpc.stages.context import PartitionContext
from kpc.stages.names import STAGED_CSV
from kpc.stages.stage_run import leased
from kpc.stages.workspace import Workspace
from kpc.storage.store import sha256_of

WEB = find_partition("KPS_WEB_SALES", "ALL")
NOW = PurgeWish(tables=("KPS_WEB_SALES",), is_due_now=True, reason="asked by a customer")
Workspaces = Callable[..., Workspace]


@pytest.fixture
def loaded(oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Workspaces) -> PartitionContext:
    """A partition through all four stages."""
    context = PartitionContext(workspaces(oracle, emulated().settings), WEB)
    assert results_by_stage(context)["reconciled"].state == "reconciled"
    return context


def run(context: PartitionContext, **changes: object) -> dict[str, PurgeResult]:
    wish = PurgeWish(**{**{name: getattr(NOW, name) for name in ("tables", "is_due_now", "reason")}, **changes})  # type: ignore[arg-type]
    return {each.kind.value: each for each in purge(context.workspace, wish)}


def files_of(context: PartitionContext, pattern: str) -> list[Path]:
    return sorted(context.paths.folder.glob(pattern))


def reconcile_again(context: PartitionContext) -> str:
    from assets.reconciled import reconciled

    return reconciled.materialize(context).state


def test_an_extract_goes_with_tombstones_and_is_compared_by_checksums(loaded: PartitionContext) -> None:
    """Path, sha256 and reason of each file are in the audit log; every record is still compared, and the report says
    by what."""
    before = {path: sha256_of(path) for path in files_of(loaded, "*/extract/*.parquet")}
    assert run(loaded)["extract"].need is None
    assert files_of(loaded, "*/extract/*.parquet") == files_of(loaded, "*/staged-*/chunk-*.csv.gz") == []
    removed: dict[str, list[str]] = {}
    for entry in loaded.ledger.audit.of_action(ACTION, loaded.environment, WEB):
        removed |= entry.detail[VOUCHED]["removed"]
    for path, sha256 in before.items():
        assert removed[f"staging/{path.relative_to(loaded.store.root)}"] == [sha256, "asked by a customer"]
    assert check_audit(loaded.ledger, places_of(loaded.settings), reads_all=True).findings == []
    assert reconcile_again(loaded) == "reconciled"
    report = last_report(loaded)
    assert report.records is not None
    assert (report.records.compared, report.level3) == (report.source_rows, "full")
    assert report.compared_only == f"key hashes and row checksums: the extract was purged on {loaded.clock():%Y-%m-%d}"
    assert report.detail()["compared_only"] == report.facts()["compared only"] == report.compared_only


@pytest.mark.parametrize("what", ["changed", "deleted", "invented"])
def test_a_difference_is_found_after_the_purge(loaded: PartitionContext, what: str) -> None:
    """In any record, although its values are gone: a changed one, a lost one, one that was never there."""
    run(loaded)
    target, client = WEB.table.target, loaded.salesforce
    soql = f"SELECT Id, {', '.join(WEB.table.header)} FROM {target} ORDER BY External_ID__c LIMIT 1"
    record = {name: value for name, value in next(iter(client.query(soql))).items() if name != "attributes"}
    if what == "changed":
        client.tell("PATCH", f"/sobjects/{target}/{record['Id']}", {"Customer_Name__c": "somebody else"})
    elif what == "deleted":
        client.tell("DELETE", f"/sobjects/{target}/{record['Id']}", {})
    else:
        invented = {**record, "External_ID__c": "never-there"}
        del invented["Id"]
        assert client.upsert_records(target, "External_ID__c", [invented])[0].error == ""
    with pytest.raises(Mismatch):
        reconcile_again(loaded)
    found = last_report(loaded).records
    assert found is not None
    counts = {"changed": found.changed, "deleted": found.missing, "invented": found.surplus}
    assert counts == {**dict.fromkeys(counts, 0), what: 1}


def test_a_sample_cannot_be_drawn_after_the_purge(loaded: PartitionContext) -> None:
    run(loaded)
    loaded.settings.reconcile.level3 = "sample"
    with pytest.raises(ConfigError, match="no sample of it can be drawn"):
        reconcile_again(loaded)


def test_a_purged_partition_can_be_extracted_and_purged_again(loaded: PartitionContext) -> None:
    """The remedy for a purged extract works; the older generation's files do not come back."""
    run(loaded)
    assert results_by_stage(loaded, mode="full")["reconciled"].state == "reconciled"
    assert last_report(loaded).compared_only == ""
    assert len(files_of(loaded, "*/extract/*.parquet")) > 0
    assert run(loaded)["extract"].need is None
    assert files_of(loaded, "*/extract/*.parquet") == []
    assert run(loaded) == {}


def test_a_dry_run_removes_nothing(loaded: PartitionContext) -> None:
    before = files_of(loaded, "**/*")
    found = run(loaded, is_dry=True)
    assert {"extract", "chunks"} <= {kind for kind, each in found.items() if each.need is None and each.files}
    assert files_of(loaded, "**/*") == before
    assert loaded.ledger.audit.of_action(ACTION, loaded.environment) == []


def test_only_what_is_older_than_its_retention_is_due(loaded: PartitionContext) -> None:
    """Each kind has its own days: after 31 days chunks are due, the extract after 91."""
    workspace, now = loaded.workspace, loaded.clock()
    due: dict[int, set[str]] = {}
    for days in (29, 31, 91):
        workspace.clock = _later(now, days)
        due[days] = set(run(loaded, is_due_now=False, is_dry=True))
    assert due[29] == set()
    assert due[31] == {"chunks"}
    assert {"chunks", "extract"} <= due[91]


def _later(now: datetime, days: int) -> Callable[[], datetime]:
    return lambda: now + timedelta(days=days)


def test_what_is_still_needed_stays(
    oracles: Callable[..., OracleServer], emulated: Callable[..., Emulator], workspaces: Workspaces
) -> None:
    """Not reconciled yet; rejected rows that nobody accepted, or only one of two people who must."""
    from assets.oracle_extract import oracle_extract
    from assets.sf_loaded import sf_loaded
    from assets.staged_csv import staged_csv

    source = oracles("--rows", "600", "--months", "2024-01")
    source.execute("UPDATE KPS_WEB_SALES SET CUSTOMER_NAME = '#N/A' WHERE ROWNUM = 1")
    context = PartitionContext(workspaces(source, emulated().settings), WEB)
    plan_campaign(context.workspace, (WEB.table,), (), "full")
    for stage in (oracle_extract, staged_csv, sf_loaded):
        stage.materialize(context)
    need = run(context)["extract"].need
    assert need is not None
    assert (need.reason, "kpc reconcile KPS_WEB_SALES ALL --level3 full" in need.remedy) == (
        "the generation was not reconciled yet", True,
    )  # fmt: skip
    assert reconcile_again(context) == "reconciled_with_exceptions"
    needs = {kind: each.need.reason for kind, each in run(context).items() if each.need is not None}
    assert set(needs) >= {"extract", "chunks", "rejects"}
    assert set(needs.values()) == {"rows of it were rejected or refused, and nobody has accepted that"}
    assert len(files_of(context, "*/extract/*.parquet")) > 0
    context.settings.sign_off = SignOffSettings(four_eyes=True)
    for name in ("somsri", "anan"):
        assert None not in {each.need for kind, each in run(context).items() if kind in needs}
        signer = Signer(name, f"logged in to Airflow as {name}", is_authenticated=True)
        sign_off(WEB.table.phase, None, context.workspace, accepts=True, note="", signer=signer)
    assert {each.need for each in run(context).values()} == {None}
    assert files_of(context, "*/staged-*/rejected.csv.gz") == []
    assert reconcile_again(context) == "reconciled_with_exceptions"


def test_a_partition_at_work_is_left_alone(loaded: PartitionContext) -> None:
    with leased(loaded, STAGED_CSV, gives_back=True):
        need = run(loaded)["extract"].need
    assert need is not None
    assert len(files_of(loaded, "*/extract/*.parquet")) > 0


def test_leftovers_of_an_abandoned_extract_are_purged(loaded: PartitionContext) -> None:
    """No manifest lists them, and they hold rows."""
    with leased(loaded, "oracle_extract", gives_back=True) as held:
        given_up = loaded.ledger.generations.start(
            loaded.environment, WEB, scn=1, mode="full", spec_hash="x", run_id="x", lease=held.lease
        )
        loaded.ledger.generations.abandon(given_up, "test", held.lease)
    left = loaded.paths.generation(given_up).extract / "chunk-00001.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(files_of(loaded, "*/extract/*.parquet")[0].read_bytes())
    found = [each for each in purge(loaded.workspace, NOW) if each.generation == given_up]
    assert [(each.kind, each.need) for each in found] == [(FileKind.EXTRACT, None)]
    assert not left.exists()


def test_what_a_killed_comparison_had_read_is_purged(loaded: PartitionContext) -> None:
    """It holds records, and the next comparison does not use it after some hours."""
    current = loaded.ledger.generations.current(loaded.environment, WEB)
    assert current is not None
    left = loaded.paths.generation(current.id).reconciled / "progress" / "ALL-000.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(files_of(loaded, "*/extract/*.parquet")[0].read_bytes())
    assert run(loaded, kinds=(FileKind.COMPARISONS,))["comparisons"].need is None
    assert not left.exists()


def test_stages_that_are_repeated_after_a_purge_leave_the_audit_right(loaded: PartitionContext) -> None:
    """They vouch for their manifests again, which list files that were purged."""
    from assets.sf_loaded import sf_loaded

    run(loaded)
    sf_loaded.materialize(loaded)
    assert reconcile_again(loaded) == "reconciled"
    assert check_audit(loaded.ledger, places_of(loaded.settings), reads_all=True).findings == []


def test_names_that_are_not_there_are_refused(loaded: PartitionContext) -> None:
    for wish, told in (
        (PurgeWish(tables=("KPS_NOTHING",)), "no table 'KPS_NOTHING'"),
        (PurgeWish(key="ALL"), "needs its table"),
    ):
        with pytest.raises(ConfigError, match=told):
            list(purge(loaded.workspace, wish))
    assert isinstance(loaded.partition, Partition)
