"""Pre-images: the org's records as they were before a load changed them, so that a rollback can restore them.

<generation>/pre-image-<version>/chunk-00001.pre-image.csv.gz, and chunk-00001.json once it is complete. One record per
line with `image_header`, `#N/A` for a null. Written before a chunk's first upload. A record that already bears the mark
of one of our generations is left out, because this migration has changed it already; so neither a second upload nor a
later generation replaces a pre-image by a newer one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from kpc.catalog.types import EXTERNAL_ID, GENERATION_FIELD
from kpc.convert.canonical import KEY_HASH, key_hash
from kpc.convert.gzip_csv import GzipTable, csv_bytes
from kpc.ledger import Ledger
from kpc.load.chunk_load import ChunkLoad
from kpc.load.chunk_result import GZIP_LEVEL, read_columns
from kpc.load.foreign_records import foreign_keys
from kpc.load.org_records import image_header, records_of
from kpc.private_files import make_private
from kpc.salesforce.constants import NULL_TOKEN
from kpc.stages.context import PartitionContext
from kpc.storage.layout import chunk_stem, result_name
from kpc.storage.manifests import StagedManifest
from kpc.storage.store import FileEntry, Store

log = logging.getLogger(__name__)

_AT_ONCE = threading.BoundedSemaphore(2)  # chunks whose keys are in memory at the same time
_REMEDY = (
    "Without it those records cannot be restored. To roll back without them, move the .json file beside it away; they "
    "then stay as they are."
)


class PreImage(BaseModel):
    """The manifest of one chunk's pre-image; `chunk_sha256` identifies the chunk's content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunk: str
    chunk_sha256: str
    header: tuple[str, ...]
    file: FileEntry
    taken_utc: datetime


@dataclass(frozen=True, slots=True)
class KeptImage:
    """A chunk's pre-image and its folder."""

    folder: Path
    generation: str
    mapping_version: str
    image: PreImage

    @property
    def name(self) -> str:
        """Short and unique within the partition; used in the names of files made from it."""
        return f"{self.generation[-8:]}-{self.mapping_version[:6]}-{chunk_stem(self.image.chunk)}"

    @property
    def rows(self) -> int:
        return self.image.file.rows

    def frames(self, store: Store, *columns: str) -> Iterator[pl.DataFrame]:
        """The named columns, or all of them, piece by piece. Raises `DamagedFile`."""
        file = store.file(self.folder, self.image.file, remedy=_REMEDY)
        yield from read_columns(file, columns or self.image.header)


def needs_pre_image(context: PartitionContext) -> bool:
    """Whether loads of the table keep pre-images. Mode `auto`: yes, unless its object was empty before our first job.

    That it was found empty counts only once a job of ours was closed: until then others may fill it, so it is asked
    again.
    """
    mode = context.settings.load.pre_image
    if mode != "auto":
        return mode == "on"
    environment, trait = context.environment, f"found_empty:{context.table.slug}"
    facts, target_id = context.ledger.org_facts, environment.target_id
    was_empty = facts.find(target_id, trait) == environment.source_id
    if was_empty and context.ledger.jobs.has_written(target_id, context.table.target):
        return False
    first = next(context.salesforce.query(f"SELECT Id FROM {context.table.target} LIMIT 1"), None)  # noqa: S608  a constant
    if first is None:
        facts.remember(target_id, trait, environment.source_id)
    elif was_empty:
        facts.forget(target_id, trait)
    return first is not None


def keep_pre_image(load: ChunkLoad) -> None:
    """Save the records that a chunk's rows will change, unless that was done or its job exists already.

    Costs API calls, but no quota of records or batches. Raises `Paused`, `QuotaExhausted`.
    """
    spec, folder = load.spec, load.paths.pre_image(load.spec.mapping_version)
    if not spec.pre_image or load.live_job() is not None:
        return
    if load.store.manifest(folder, PreImage, result_name(spec.chunk)) is not None:
        return
    load.ledger.pauses.check(load.lease.environment, load.table)
    load.store.check_space(spec.raw_bytes)
    with _AT_ONCE:
        entry = _write(load, make_private(folder))
    image = PreImage(
        chunk=spec.chunk,
        chunk_sha256=spec.sha256,
        header=image_header(load.table),
        file=entry,
        taken_utc=load.context.clock(),
    )
    load.ledger.leases.require(load.lease)
    load.store.publish(folder, image, (entry,), result_name(spec.chunk))
    if entry.rows:
        log.info("%s: saved the pre-image of %s existing records", load, f"{entry.rows:,}")


def _write(load: ChunkLoad, folder: Path) -> FileEntry:
    header = image_header(load.table)
    found = records_of(load.table, _wanted(load), load.governor, load.salesforce)
    with GzipTable(folder / f"{chunk_stem(load.spec.chunk)}.pre-image.csv.gz", header, GZIP_LEVEL) as table:
        for rows in _of_others(found, load.ledger):
            table.write(csv_bytes(rows.select(header), null=NULL_TOKEN), rows.height)
        return table.close()


def _wanted(load: ChunkLoad) -> list[str]:
    """The external ids of a chunk that the org may hold: all of a small chunk, else those of others' records."""
    keys = read_columns(load.chunk_file(), (EXTERNAL_ID,))
    if load.spec.rows <= load.settings.collection_rows:
        return [key for frame in keys for key in frame[EXTERNAL_ID]]
    foreign = foreign_keys(load)
    if foreign.is_empty():
        return []
    mine = (frame.with_columns(key_hash()).join(foreign, on=KEY_HASH, how="semi") for frame in keys)
    return [key for frame in mine for key in frame[EXTERNAL_ID]]


def _of_others(frames: Iterator[pl.DataFrame], ledger: Ledger) -> Iterator[pl.DataFrame]:
    """Records not written by any generation of this ledger, except those with the text `#N/A`: in CSV it means null."""
    asked: set[str] = set()
    ours: set[str] = set()
    for frame in frames:
        fresh = set(frame[GENERATION_FIELD].drop_nulls()) - asked
        asked |= fresh
        ours |= ledger.generations.known(fresh) if fresh else set()
        has_null_token = pl.any_horizontal(pl.col(pl.String).eq_missing(NULL_TOKEN))
        yield frame.filter(~pl.col(GENERATION_FIELD).is_in(ours).fill_null(value=False), ~has_null_token)


def kept_images(context: PartitionContext) -> list[KeptImage]:
    """The pre-images of a partition that were not rolled back, oldest generation first."""
    kept = []
    for chunk in context.ledger.chunks.planned(context.environment, context.partition):
        folder = context.paths.generation(chunk.generation).pre_image(chunk.mapping_version)
        image = context.store.manifest(folder, PreImage, result_name(chunk.name))
        if image is not None and image.file.rows:
            kept.append(KeptImage(folder, chunk.generation, chunk.mapping_version, image))
    return kept


def kept_rows(context: PartitionContext, staged: StagedManifest) -> int:
    """How many records the pre-images of a staged generation hold."""
    folder = context.paths.generation(staged.generation).pre_image(staged.mapping_version)
    images = (context.store.manifest(folder, PreImage, result_name(chunk.name)) for chunk in staged.chunks)
    return sum(image.file.rows for image in images if image is not None)
