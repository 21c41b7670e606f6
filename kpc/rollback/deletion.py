"""Which records a rollback deletes: their ids, in files that are written before the first deletion is sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from kpc.convert.gzip_csv import GzipTable, csv_bytes
from kpc.load.loaded_index import read_loaded_index
from kpc.load.org_records import ID
from kpc.private_files import make_private
from kpc.stages.context import PartitionContext
from kpc.storage.store import FileEntry

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


@dataclass(frozen=True, slots=True)
class DeletionCounts:
    """How many records of the loaded index the migration created, and how many it only changed."""

    created: int
    updated: int


def count_deletion(context: PartitionContext, folder: Path) -> DeletionCounts:
    """What `plan_deletion` would find; `folder` is the rollback's. All unpublished loads must be finalized before."""
    manifest = context.store.manifest(folder, DeletionManifest)
    if not context.store.fetch(context.paths.loaded_index) and manifest is not None:
        return DeletionCounts(manifest.created, manifest.updated)  # everything was deleted already
    rows = created = 0
    for frame in read_loaded_index(context.paths.folder):
        rows += frame.height
        created += int(frame["created"].sum() or 0)
    return DeletionCounts(created, rows - created)


def plan_deletion(context: PartitionContext, folder: Path, tag: str) -> DeletionManifest:
    """The files of ids to delete, written before the first is sent; written again if the index has changed since.

    All unpublished loads must be finalized before: their records are the migration's too.
    """
    store, partition_dir = context.store, context.paths.folder
    manifest = store.manifest(folder, DeletionManifest)
    has_index = store.fetch(context.paths.loaded_index)
    if manifest is not None and not has_index:
        return manifest  # everything was deleted, only the ledger remains to be written
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
