"""A second opinion on request, of an extract that was sealed without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer, start_oracle

from assets.reconciled import reconciled
from kpc.campaign.audit import check_audit, places_of
from kpc.campaign.file_kinds import FileKind
from kpc.campaign.kept_files import GenerationFiles
from kpc.catalog import find_table
from kpc.errors import ConfigError, Mismatch
from kpc.partition import find_partition
from kpc.reconcile.report import last_report
from kpc.reconcile.second_opinion.result import DIFFERING, SecondOpinion
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.workspace import Workspace
from kpc.storage.layout import EXTRACT_PLAN
from kpc.storage.store import MANIFEST

TENANTS = find_partition("KPS_R_EMAIL_TENANT", "ALL")
HEADERS = find_partition("KPS_T_SALES_M", "2024-01")  # has a hashed column
Workspaces = Callable[..., Workspace]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "1500", "--months", "2024-01")
    yield server
    server.stop()


@pytest.fixture
def workspace(source: OracleServer, emulated: Callable[..., Emulator], workspaces: Workspaces) -> Iterator[Workspace]:
    made = workspaces(source, emulated().settings)
    made.settings.reconcile.second_opinion = "off"
    with source.without_faults():
        yield made


def _asked(context: PartitionContext, share: str) -> SecondOpinion:
    reconciled.materialize(context, second_opinion=share)
    opinion = last_report(context).second_opinion
    assert opinion is not None
    return opinion


def _folder(context: PartitionContext, name: str) -> dict[Path, int]:
    folder = context.paths.generation(sealed_extract(context).generation).folder / name
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def _questions(context: PartitionContext) -> int:
    return sum(entry.action == "second opinion asked" for entry in context.ledger.audit.entries())


def test_oracle_is_asked_as_of_the_extract(workspace: Workspace, source: OracleServer) -> None:
    """A row changed in Oracle since is no difference; the extract stays as it is; later comparisons use the answers."""
    context = PartitionContext(workspace, TENANTS)
    rows = results_by_stage(context)["oracle_extract"].rows
    before = _folder(context, "extract")
    source.execute(f"UPDATE {context.table.name} SET EMAIL = 'changed@example.org'")
    opinion = _asked(context, "all")
    assert (opinion.buckets, opinion.compared, opinion.differing) == (256, rows, 0)
    assert _folder(context, "extract") == before
    assert sealed_extract(context).opinion_buckets == ()
    reconciled.materialize(context)
    assert last_report(context).second_opinion == opinion
    assert _asked(context, "all") == opinion
    assert _questions(context) == 1
    assert check_audit(context.ledger, places_of(context.settings), reads_all=True).findings == []
    record = next(iter(context.salesforce.query(f"SELECT Id, External_ID__c FROM {TENANTS.table.target} LIMIT 1")))
    address = f"/sobjects/{TENANTS.table.target}/{record['Id']}"
    context.salesforce.tell("PATCH", address, {"Email__c": "invented@example.org"})
    with pytest.raises(Mismatch, match=DIFFERING):
        reconciled.materialize(context)


def test_some_buckets_then_all(workspace: Workspace) -> None:
    """A share of a month, hashed columns included; more buckets replace fewer, and a purge finds the files."""
    for table in ("KPS_WEB_SALES", HEADERS.table.name):
        key = "2024-01" if find_table(table).is_monthly else "ALL"
        results_by_stage(PartitionContext(workspace, find_partition(table, key)))
    context = PartitionContext(workspace, HEADERS)
    some = _asked(context, "40")
    assert some.buckets == 40
    assert 0 < some.compared < last_report(context).source_rows
    assert "of 40 of 256 buckets" in str(some)
    assert _asked(context, "7") == some
    whole = _asked(context, "all")
    assert (whole.compared, whole.differing) == (last_report(context).target_rows, 0)
    assert _questions(context) == 2
    assert check_audit(context.ledger, places_of(context.settings), reads_all=True).findings == []
    generation = context.ledger.generations.current(context.environment, context.partition)
    assert generation is not None
    purged = GenerationFiles(context, generation).of_kind(FileKind.EXTRACT)
    assert any("/opinions/" in one.path for one in purged)


def test_an_interrupted_question_continues(workspace: Workspace) -> None:
    """Files that are finished are not read again."""
    workspace.settings.staging.chunk_rows = 10
    context = PartitionContext(workspace, TENANTS)
    results_by_stage(context)
    first = _asked(context, "all")
    folder = context.paths.generation(sealed_extract(context).generation).opinions
    marks = sorted(path for path in folder.glob("*.json") if path.name not in (MANIFEST, EXTRACT_PLAN))
    assert len(marks) > 1
    (folder / MANIFEST).unlink()
    marks[-1].unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert _asked(context, "all") == first
    again = {path.stem for path, changed in before.items() if path.stat().st_mtime_ns != changed}
    assert again == {marks[-1].stem}


def test_without_undo_there_is_a_sentence(workspace: Workspace, source: OracleServer) -> None:
    """Oracle's undo does not reach back: nothing is compared, and the way to an opinion is named."""
    context = PartitionContext(workspace, TENANTS)
    results_by_stage(context)
    verdict = last_report(context)
    source.fault("error", 1555, table=TENANTS.table.name, sql="COUNT")
    with pytest.raises(ConfigError, match="can no longer read") as refused:
        reconciled.materialize(context, second_opinion="all")
    assert "KPC__RECONCILE__SECOND_OPINION=full" in refused.value.remedy
    assert last_report(context) == verdict


@pytest.mark.parametrize("share", ["some", "0", "257", "-1", "1.5"])
def test_an_odd_share_is_refused(workspace: Workspace, share: str) -> None:
    context = PartitionContext(workspace, TENANTS)
    results_by_stage(context)
    with pytest.raises(ConfigError, match="not a share of a partition"):
        reconciled.materialize(context, second_opinion=share)
