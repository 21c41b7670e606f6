"""After the proof: chunks are kept, archived or deleted by policy, and everything else stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from object_store_double import ObjectStoreDouble
from oracle_source import OracleServer, road_settings

from assets.graph import materialize_lineage
from assets.oracle_extract import oracle_extract
from assets.reconciled import reconciled
from assets.sf_loaded import sf_loaded
from assets.staged_csv import staged_csv
from kpc.campaign.inspection import inspect_partition
from kpc.errors import ConfigError, DamagedFile, Mismatch, Transient
from kpc.partition import find_partition
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace, open_workspace
from kpc.staging.cleanup import clean_up
from kpc.storage.layout import CLEANED, loaded_folder, staged_folder
from kpc.storage.manifests import StagedManifest
from kpc.storage.store import read_manifest, verify

TENANT = find_partition("KPS_R_EMAIL_TENANT", "ALL")
Workers = Callable[..., Workspace]


@pytest.fixture
def workers(tmp_path: Path, oracle: OracleServer, emulated: Callable[..., Emulator]) -> Iterator[Workers]:
    """Workers of one migration: `workers("archive")` has that policy."""
    org = emulated().settings
    with ExitStack() as scope:

        def hire(policy: str = "keep", run_id: str = "test", **staging: object) -> Workspace:
            settings = road_settings(tmp_path, oracle.settings, org)
            given = {"after_reconciliation": policy, "archive_root": str(tmp_path / "archive"), **staging}
            settings.staging = settings.staging.model_copy(update=given)
            return scope.enter_context(open_workspace(settings, run_id=run_id, actor="test"))

        yield hire


def folder_of(worker: Workspace) -> Path:
    """The staged folder of the current generation."""
    generation = worker.ledger.generations.current(worker.environment, TENANT)
    assert generation is not None
    home = PartitionContext(worker, TENANT).paths.generation(generation.id).folder
    return home / staged_folder(TENANT.table.mapping_version)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


CHUNKS = {"chunk-00001.csv.gz"}


@pytest.mark.parametrize(("policy", "gone"), [("keep", set()), ("archive", CHUNKS), ("delete", CHUNKS)])
def test_the_policy_is_carried_out_when_the_partition_is_proven(
    workers: Workers, tmp_path: Path, policy: str, gone: set[str]
) -> None:
    """Only chunks go: manifests, index, the sealed extract and the results of the load stay."""
    worker = workers(policy)
    results = list(materialize_lineage(PartitionContext(worker, TENANT)))
    assert results[-1].state == "reconciled"
    folder = folder_of(worker)
    manifest = read_manifest(folder, StagedManifest)
    assert manifest is not None
    assert {entry.name for entry in manifest.files} - names(folder) == gone
    assert (folder.parent / "extract" / "manifest.json").is_file()
    receipts_of_load = names(folder.parent / loaded_folder(TENANT.table.mapping_version))
    assert {"success.csv.gz", "failed.csv.gz", "manifest.json", "chunk-00001.success.csv.gz"} <= receipts_of_load
    archived = tmp_path / "archive" / folder.relative_to(worker.store.root)
    assert archived.exists() is (policy == "archive")
    if policy == "archive":
        for chunk in manifest.chunks:
            verify(archived, chunk, remedy="")
        assert read_manifest(archived, StagedManifest) == manifest
    shown = inspect_partition(PartitionContext(worker, TENANT))["staged"]
    assert (shown.get("cleaned") or {}).get("policy") == (None if policy == "keep" else policy)
    actions = [entry.action for entry in worker.ledger.audit.entries()]
    assert actions.count("chunks archived") == (policy == "archive")
    assert actions.count("chunks deleted") == (policy == "delete")
    assert worker.ledger.audit.verify() == []


@pytest.mark.parametrize("policy", ["archive", "delete"])
def test_a_cleaned_partition_can_be_run_again(workers: Workers, policy: str) -> None:
    """It is staged again from its sealed extract with the same bytes, nothing is sent, and it is cleaned again."""
    worker = workers(policy)
    first = results_by_stage(PartitionContext(worker, TENANT), mode="full")
    folder = folder_of(worker)
    before = read_manifest(folder, StagedManifest)
    again = workers(policy, "again")
    staged_csv.materialize(PartitionContext(again, TENANT))
    after = read_manifest(folder, StagedManifest)
    assert before is not None
    assert after is not None
    assert after.chunks == before.chunks
    assert names(folder) >= CHUNKS
    assert CLEANED not in names(folder)
    loaded = sf_loaded.materialize(PartitionContext(again, TENANT))
    assert loaded.rows == first["sf_loaded"].rows
    assert loaded.detail["attempt"] == first["sf_loaded"].detail["attempt"]
    assert reconciled.materialize(PartitionContext(again, TENANT)).state == "reconciled"
    assert not CHUNKS & names(folder)
    whole = results_by_stage(PartitionContext(workers(policy, "third"), TENANT))
    assert whole["sf_loaded"].detail["jobs"] == 0
    assert whole["reconciled"].state == "reconciled"


@pytest.mark.parametrize("policy", ["archive", "delete"])
def test_chunks_of_superseded_generations_go_with_the_proven_ones(
    workers: Workers, tmp_path: Path, policy: str
) -> None:
    """What was staged of an older extract, loaded or not, can never be loaded again; its manifests stay."""
    worker = workers()
    list(materialize_lineage(PartitionContext(worker, TENANT), mode="full"))
    loaded = folder_of(worker)
    second = workers("keep", "second")
    oracle_extract.materialize(PartitionContext(second, TENANT), "full")
    staged_csv.materialize(PartitionContext(second, TENANT))
    never_loaded = folder_of(second)
    third = workers("keep", "third")
    list(materialize_lineage(PartitionContext(third, TENANT), mode="full"))
    proven = folder_of(third)
    assert len({loaded, never_loaded, proven}) == 3
    assert all(names(folder) >= CHUNKS for folder in (loaded, never_loaded, proven))
    assert clean_up(PartitionContext(third, TENANT), policy) is not None  # type: ignore[arg-type]
    for folder in (loaded, never_loaded, proven):
        assert not CHUNKS & names(folder)
        assert names(folder) >= {"manifest.json", "index.parquet", CLEANED}
        archived = tmp_path / "archive" / folder.relative_to(third.store.root) / "chunk-00001.csv.gz"
        assert archived.exists() is (policy == "archive")
    actions = [entry.action for entry in third.ledger.audit.entries()]
    assert actions.count("chunks archived" if policy == "archive" else "chunks deleted") == 3
    assert results_by_stage(PartitionContext(workers(), TENANT))["sf_loaded"].detail["jobs"] == 0


def test_a_mismatch_keeps_its_chunks(workers: Workers) -> None:
    """What is in doubt is not cleared away, neither by policy nor by hand."""
    worker = workers("delete")
    oracle_extract.materialize(PartitionContext(worker, TENANT), "full")
    staged_csv.materialize(PartitionContext(worker, TENANT))
    sf_loaded.materialize(PartitionContext(worker, TENANT))
    target = TENANT.table.target
    record = next(iter(worker.salesforce.query(f"SELECT Id FROM {target} LIMIT 1")))
    worker.salesforce.tell("DELETE", f"/sobjects/{target}/{record['Id']}", {})
    with pytest.raises(Mismatch):
        reconciled.materialize(PartitionContext(worker, TENANT))
    with pytest.raises(ConfigError, match="not proven: its reconciliation is mismatch"):
        clean_up(PartitionContext(worker, TENANT), "delete")
    assert names(folder_of(worker)) >= CHUNKS


def test_a_newer_generation_is_not_touched(workers: Workers) -> None:
    """The proof of an older generation says nothing about the chunks of a newer one."""
    worker = workers()
    list(materialize_lineage(PartitionContext(worker, TENANT)))
    newer = workers("keep", "newer")
    oracle_extract.materialize(PartitionContext(newer, TENANT), "full")
    staged_csv.materialize(PartitionContext(newer, TENANT))
    with pytest.raises(ConfigError, match="has not been reconciled"):
        clean_up(PartitionContext(newer, TENANT), "archive")
    assert names(folder_of(newer)) >= CHUNKS


def test_a_stage_at_work_is_not_disturbed(workers: Workers) -> None:
    """While another run stages or loads the partition its chunks stay."""
    worker = workers()
    list(materialize_lineage(PartitionContext(worker, TENANT)))
    with (
        worker.ledger.leases.hold(worker.environment, TENANT, "sf_loaded", owner="other", ttl_s=30, wait_s=0),
        pytest.raises(Transient, match="being worked on by other"),
    ):
        clean_up(PartitionContext(worker, TENANT), "delete")
    assert names(folder_of(worker)) >= CHUNKS


def test_what_hinders_the_clean_up_does_not_undo_the_proof(workers: Workers, tmp_path: Path) -> None:
    """An archive that cannot be reached leaves the chunks where they are; by hand it says why."""
    worker = workers("archive", archive_root="s3://bucket/kpc")
    assert list(materialize_lineage(PartitionContext(worker, TENANT)))[-1].state == "reconciled"
    assert names(folder_of(worker)) >= CHUNKS
    with pytest.raises(ConfigError, match="s3fs"):
        clean_up(PartitionContext(worker, TENANT), "archive")
    assert names(folder_of(worker)) >= CHUNKS


def test_a_damaged_chunk_is_not_archived(workers: Workers) -> None:
    """What is archived is what was staged, byte for byte; otherwise nothing is removed."""
    worker = workers()
    list(materialize_lineage(PartitionContext(worker, TENANT)))
    chunk = folder_of(worker) / "chunk-00001.csv.gz"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(DamagedFile):
        clean_up(PartitionContext(worker, TENANT), "archive")
    assert chunk.is_file()
    assert CLEANED not in names(folder_of(worker))


def test_an_interrupted_clean_up_is_finished(workers: Workers) -> None:
    """The result comes before the removal: a crash between them leaves chunks that the next call removes."""
    worker = workers()
    list(materialize_lineage(PartitionContext(worker, TENANT)))
    chunk = folder_of(worker) / "chunk-00001.csv.gz"
    content = chunk.read_bytes()
    cleaned = clean_up(PartitionContext(worker, TENANT), "archive")
    chunk.write_bytes(content)
    assert clean_up(PartitionContext(worker, TENANT), "archive") == cleaned
    assert not chunk.exists()
    assert [entry.action for entry in worker.ledger.audit.entries()].count("chunks archived") == 1


def test_chunks_are_archived_in_an_object_store(workers: Workers) -> None:
    """The archive may be an object store while the root is a directory; what it holds was read back."""
    ObjectStoreDouble.empty()
    worker = workers("archive", archive_root="objects://vault/kpc")
    list(materialize_lineage(PartitionContext(worker, TENANT)))
    manifest = read_manifest(folder_of(worker), StagedManifest)
    assert manifest is not None
    kept = {key.rpartition("/")[2]: content for key, content in ObjectStoreDouble.held.items()}
    assert {name: len(kept[name]) for name in CHUNKS} == {chunk.name: chunk.bytes for chunk in manifest.chunks}
    assert json.loads(kept["manifest.json"])["generation"] == manifest.generation
    assert not CHUNKS & names(folder_of(worker))
    ObjectStoreDouble.empty()
