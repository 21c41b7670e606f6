"""Where staged files live: a directory or an object store that all workers see, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import fsspec
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
from kpc.campaign.file_kinds import FileKind
from kpc.campaign.purge import PurgeWish, purge
from kpc.errors import ConfigError, DamagedFile, Transient
from kpc.load.mapped_chunks import begin_chunk, finish_chunk, plan_load, poll_chunk
from kpc.partition import find_partition
from kpc.settings import SalesforceSettings, Settings, StagingSettings
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace, open_workspace
from kpc.storage.layout import staged_folder
from kpc.storage.manifests import StagedManifest
from kpc.storage.store import MANIFEST, Store, open_store

TENANT = find_partition("KPS_R_EMAIL_TENANT", "ALL")
Workers = Callable[..., Workspace]


@pytest.fixture
def objects() -> Iterator[type[ObjectStoreDouble]]:
    """An empty object store."""
    ObjectStoreDouble.empty()
    yield ObjectStoreDouble
    ObjectStoreDouble.empty()


@pytest.fixture
def workers(tmp_path: Path, oracle: OracleServer, emulated: Callable[..., Emulator]) -> Iterator[Workers]:
    """Workers of one migration, each with a disk of its own: `workers("objects://bucket/kpc")`."""
    org: SalesforceSettings = emulated().settings
    with ExitStack() as scope:
        hired: list[Workspace] = []

        def hire(root: object, run_id: str = "test", **staging: object) -> Workspace:
            settings: Settings = road_settings(tmp_path, oracle.settings, org)
            scratch = tmp_path / f"disk-{len(hired)}"
            settings.staging = StagingSettings(root=root, scratch=scratch, **staging)  # type: ignore[arg-type]
            hired.append(scope.enter_context(open_workspace(settings, run_id=run_id, actor="test")))
            return hired[-1]

        yield hire


@pytest.mark.parametrize("url", ["objects://bucket/kpc", "memory://bucket/kpc"])
def test_each_station_may_run_on_another_worker(objects: type[ObjectStoreDouble], workers: Workers, url: str) -> None:
    """Four workers that share nothing but an object store take a partition all the way, and a repeat sends nothing."""
    extracted = oracle_extract.materialize(PartitionContext(workers(url), TENANT), "full")
    staged = staged_csv.materialize(PartitionContext(workers(url), TENANT))
    loading = workers(url)
    (spec,) = plan_load(PartitionContext(loading, TENANT))
    job = begin_chunk(workers(url, loading.run_id), spec)
    poller = workers(url, loading.run_id)
    while not poll_chunk(poller, spec, job).is_final:
        pass
    finish_chunk(workers(url, loading.run_id), spec, job)
    loaded = sf_loaded.materialize(PartitionContext(loading, TENANT))
    proof = reconciled.materialize(PartitionContext(workers(url), TENANT), level3="full")
    assert extracted.rows == staged.rows == loaded.rows == proof.rows > 0
    assert proof.state == "reconciled"
    again = results_by_stage(PartitionContext(workers(url, "again"), TENANT))
    assert again["staged_csv"].detail["unchanged"] == extracted.rows
    assert again["sf_loaded"].detail["jobs"] == 0
    assert again["reconciled"].state == "reconciled"
    fsspec.filesystem("memory").store.clear()


def test_a_file_url_is_a_directory(workers: Workers, tmp_path: Path) -> None:
    """`file:///...` works in place, without a scratch directory."""
    worker = workers(f"file://{tmp_path / 'shared'}")
    assert [result.stage for result in materialize_lineage(PartitionContext(worker, TENANT))][-1] == "reconciled"
    assert list((tmp_path / "shared").rglob("chunk-00001.csv.gz"))
    assert not (tmp_path / "disk-0").exists()


def test_a_manifest_is_the_last_thing_that_becomes_visible(objects: type[ObjectStoreDouble], workers: Workers) -> None:
    """Every file that a manifest lists was whole in the store before the manifest was, with the listed sha256."""
    list(materialize_lineage(PartitionContext(workers("objects://bucket/kpc"), TENANT)))
    manifests = [key for key in objects.uploads if key.endswith(f"/{MANIFEST}")]
    assert len(manifests) == 3
    for key in manifests:
        listed = [entry for entry in _entries(json.loads(objects.held[key])) if entry["bytes"]]
        assert listed
        for entry in listed:
            path = f"{key.removesuffix(MANIFEST)}{entry['name']}"
            assert objects.uploads.index(path) < objects.uploads.index(key)
            assert hashlib.sha256(objects.held[path]).hexdigest() == entry["sha256"]


def _entries(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, dict):
        if "sha256" in value:
            yield value
        for item in value.values():
            yield from _entries(item)
    elif isinstance(value, list):
        for item in value:
            yield from _entries(item)


def test_an_upload_that_breaks_off_is_repeated_as_a_whole(objects: type[ObjectStoreDouble], workers: Workers) -> None:
    """No part of it is visible, the error is transient, and the next worker makes it from the sealed extract."""
    url = "objects://bucket/kpc"
    oracle_extract.materialize(PartitionContext(workers(url), TENANT), "full")
    before = set(objects.held)
    objects.fail_after = 1_000
    with pytest.raises(Transient, match="went away"):
        staged_csv.materialize(PartitionContext(workers(url), TENANT))
    assert not [key for key in set(objects.held) - before if key.endswith((MANIFEST, ".csv.gz"))]
    objects.fail_after = None
    assert staged_csv.materialize(PartitionContext(workers(url), TENANT)).rows > 0


def test_an_object_that_was_changed_is_noticed(objects: type[ObjectStoreDouble], workers: Workers) -> None:
    """What is fetched is compared with its manifest; staging makes it again, loading refuses it."""
    url = "objects://bucket/kpc"
    oracle_extract.materialize(PartitionContext(workers(url), TENANT), "full")
    staged_csv.materialize(PartitionContext(workers(url), TENANT))
    (chunk,) = (key for key in objects.held if key.endswith("chunk-00001.csv.gz"))
    whole = objects.held[chunk]
    objects.held[chunk] = whole[:-1]
    with pytest.raises(DamagedFile, match="has changed since it was written"):
        sf_loaded.materialize(PartitionContext(workers(url), TENANT))
    staged_csv.materialize(PartitionContext(workers(url), TENANT))
    assert objects.held[chunk] == whole
    assert sf_loaded.materialize(PartitionContext(workers(url), TENANT)).rows > 0


def test_a_worker_leaves_its_disk_empty(objects: type[ObjectStoreDouble], tmp_path: Path) -> None:
    """What was finished is in the store; what a killed worker left is swept by the next one on that machine."""
    dead = tmp_path / "scratch" / "worker-999999999" / "half"
    dead.mkdir(parents=True)
    store = open_store("objects://bucket/kpc", tmp_path / "scratch", 0)
    assert not dead.exists()
    (store.root / "x").mkdir()
    store.close()
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(("url", "package"), [("s3://bucket/kpc", "s3fs"), ("gs://bucket/kpc", "gcsfs")])
def test_a_missing_driver_is_named(url: str, package: str, tmp_path: Path) -> None:
    """An object store whose package is not installed says which one to install."""
    with pytest.raises(ConfigError, match=f"Install the package {package}"):
        open_store(url, tmp_path, 0)


def test_an_unknown_protocol_is_refused(tmp_path: Path) -> None:
    """A typing error in the URL is a wrong setting, not a folder with a strange name."""
    with pytest.raises(ConfigError, match="No driver for s33://"):
        open_store("s33://bucket", tmp_path, 0)


def test_a_worker_with_another_root_is_refused(workers: Workers, tmp_path: Path) -> None:
    """The first worker marks the root; one that does not find the mark stops before it does anything."""
    oracle_extract.materialize(PartitionContext(workers(tmp_path / "shared"), TENANT), "full")
    stranger = workers(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"does not contain root-[0-9a-f]{16}\.json"):
        staged_csv.materialize(PartitionContext(stranger, TENANT))
    with pytest.raises(ConfigError, match="same directory or object store on every worker"):
        plan_load(PartitionContext(stranger, TENANT))
    assert staged_csv.materialize(PartitionContext(workers(tmp_path / "shared"), TENANT)).rows > 0


def test_a_root_that_moved_with_its_files_is_the_same_root(workers: Workers, tmp_path: Path) -> None:
    """The mark moves with the files; a lost root is replaced by hand, as the message says."""
    first = workers(tmp_path / "shared")
    first.check_root(first.environment)
    (tmp_path / "shared").rename(tmp_path / "moved")
    moved = workers(tmp_path / "moved")
    moved.check_root(moved.environment)
    (mark,) = (tmp_path / "moved").glob("root-*.json")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / mark.name).write_text("{}")
    replaced = workers(empty)
    replaced.check_root(replaced.environment)


def test_workers_that_start_together_agree_on_one_mark(workers: Workers, tmp_path: Path) -> None:
    """Both find no mark and make one; the ledger keeps one, and on one root both may go on."""
    one, two = workers(tmp_path / "shared"), workers(tmp_path / "shared")
    environment = one.environment
    own = one.ledger.endpoints.claim_root(environment, "aaaa")
    assert two.ledger.endpoints.claim_root(environment, "bbbb") == own == "aaaa"
    with pytest.raises(ConfigError, match="root-aaaa"):
        two.check_root(environment)


def test_a_directory_needs_no_copy(tmp_path: Path) -> None:
    """With a directory as root a file is read where it lies, and what is withdrawn is gone."""
    store = Store(tmp_path)
    folder = tmp_path / staged_folder("v")
    folder.mkdir()
    (folder / MANIFEST).write_text("{")
    with pytest.raises(DamagedFile, match="is not a StagedManifest"):
        store.manifest(folder, StagedManifest)
    store.withdraw(folder)
    assert store.manifest(folder, StagedManifest) is None
    assert store.shown(folder) == str(folder)


def test_a_partition_in_an_object_store_is_purged(objects: type[ObjectStoreDouble], workers: Workers) -> None:
    """By another worker: objects with rows go, checksums stay, and a third worker compares by them."""
    url = "objects://bucket/kpc"
    list(materialize_lineage(PartitionContext(workers(url), TENANT)))
    wish = PurgeWish(tables=(TENANT.table.name,), is_due_now=True, reason="test")
    found = list(purge(workers(url), wish))
    assert {each.kind for each in found} >= {FileKind.EXTRACT, FileKind.CHUNKS, FileKind.FAILED_ROWS}
    assert [each.need for each in found if each.kind is not FileKind.PRE_IMAGES] == [None] * len(found)
    rows = [key for key in objects.held if key.endswith((".parquet", "failed.csv.gz", "unprocessed.csv.gz"))]
    names = {key.rpartition("/")[2] for key in rows}
    assert names == {"index.parquet", "fingerprint.parquet", "loaded_index.parquet", "row_checksums.parquet"}
    assert not [key for key in objects.held if "/staged-" in key and "/chunk-" in key]
    proof = reconciled.materialize(PartitionContext(workers(url), TENANT), level3="full")
    assert (proof.state, "compared_only" in proof.detail) == ("reconciled", True)
    assert list(purge(workers(url), wish)) == []
