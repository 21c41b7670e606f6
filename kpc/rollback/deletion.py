"""Which records a rollback deletes: their ids, in files that are written before the first deletion is sent."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from kpc.convert.gzip_csv import GzipTable, csv_bytes
from kpc.load.chunk_result import ChunkResult
from kpc.load.created_records import created_before
from kpc.load.loaded_index import read_loaded_index, update_loaded_index
from kpc.load.org_records import ID
from kpc.stages.context import PartitionContext
from kpc.storage.layout import result_name
from kpc.storage.manifests import LoadManifest, StagedManifest
from kpc.storage.store import FileEntry, make_private

_HEADER = (ID,)
_CHUNK_ROWS = 500_000


class DeletionManifest(BaseModel):
    """What one rollback deletes: files of record ids, of the loaded index with that digest.

    `updated` counts the records that the migration only changed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    created: int
    updated: int
    chunks: tuple[FileEntry, ...]
    index_digest: str = ""


def plan_deletion(context: PartitionContext, folder: Path, tag: str) -> DeletionManifest:
    """The files of ids to delete, written before the first is sent; written again if the index has changed since."""
    store, partition_dir = context.store, context.paths.folder
    manifest = store.manifest(folder, DeletionManifest)
    has_index = store.fetch(context.paths.loaded_index)
    if manifest is not None and not has_index:
        return manifest  # everything was deleted, only the ledger remains to be written
    _absorb_unpublished(context)
    digest = _index_digest(partition_dir)
    if manifest is None or manifest.index_digest != digest:
        manifest = _write_ids(folder, partition_dir, tag, digest)
        store.publish(folder, manifest, manifest.chunks)
    return manifest


def _index_digest(partition_dir: Path) -> str:
    """A digest of the index's rows, independent of its file's bytes: their count and the sum of their hashes."""
    rows = total = 0
    for frame in read_loaded_index(partition_dir):
        rows += frame.height
        total = (total + int(frame.hash_rows(7).sum() or 0)) % (1 << 64)
    return f"{rows}-{total:016x}"


def _absorb_unpublished(context: PartitionContext) -> None:
    """Add chunks to the index that were loaded by runs which never published: their records are the migration's too."""
    store, is_changed = context.store, False
    planned = context.ledger.chunks.planned(context.environment, context.partition)
    for generation, version in dict.fromkeys((chunk.generation, chunk.mapping_version) for chunk in planned):
        paths = context.paths.generation(generation)
        staged = store.manifest(paths.staged(version), StagedManifest)
        if staged is None or store.manifest(paths.loaded(version), LoadManifest) is not None:
            continue
        index = store.file(paths.staged(version), staged.index_file, remedy="Stage the partition again.")
        for chunk in staged.chunks:
            for file in _success_files(context, generation, version, chunk.name):
                update_loaded_index(context.paths.folder, index, file)
                is_changed = True
    if is_changed:
        store.send(context.paths.loaded_index)


def _success_files(context: PartitionContext, generation: str, version: str, chunk: str) -> list[Path]:
    """The files that list the accepted rows of a chunk."""
    folder = context.paths.generation(generation).loaded(version)
    files = created_before(context, generation, version, chunk)
    if result := context.store.manifest(folder, ChunkResult, result_name(chunk)):
        files.append(context.store.file(folder, result.success_file, remedy="Run the load again; it is read again."))
    return files


def _write_ids(folder: Path, partition_dir: Path, tag: str, index_digest: str) -> DeletionManifest:
    """The ids of all records that the index has as created, at most `_CHUNK_ROWS` in a file."""
    chunks: list[FileEntry] = []
    rows = 0
    waiting = pl.DataFrame(schema={"salesforce_id": pl.String})
    for frame in read_loaded_index(partition_dir):
        rows += frame.height
        waiting = pl.concat([waiting, frame.filter("created").select("salesforce_id")])
        while waiting.height >= _CHUNK_ROWS:
            chunks.append(_write_chunk(folder, f"{tag}-{len(chunks) + 1:05d}", waiting.head(_CHUNK_ROWS)))
            waiting = waiting.slice(_CHUNK_ROWS)
    if waiting.height:
        chunks.append(_write_chunk(folder, f"{tag}-{len(chunks) + 1:05d}", waiting))
    created = sum(chunk.rows for chunk in chunks)
    return DeletionManifest(created=created, updated=rows - created, chunks=tuple(chunks), index_digest=index_digest)


def _write_chunk(folder: Path, name: str, ids: pl.DataFrame) -> FileEntry:
    with GzipTable(make_private(folder) / f"undo-{name}.csv.gz", _HEADER, 1) as table:
        table.write(csv_bytes(ids, null=""), ids.height)
        return table.close()
