"""What the org held before a load changed it: kept before a chunk's first upload, so that a rollback can restore it.

<generation>/pre-image-<version>/chunk-00001.pre-image.csv.gz, and chunk-00001.json once it is whole. One record per
line with `image_header`, `#N/A` for a null. A record belongs to the generation that first touched it: one that bears
the mark of any generation of ours is not as it was before us, and is left out. So neither a second upload nor a later
generation ever replaces an image by a younger one.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, GENERATION_FIELD
from kpc.convert.gzip_csv import GzipTable, csv_bytes
from kpc.ledger import Ledger
from kpc.load.chunk_load import ChunkLoad, governor_of
from kpc.load.chunk_result import GZIP_LEVEL, chunk_stem, read_columns, result_name
from kpc.load.org_records import WantedKeys, image_header, records_of
from kpc.partition import Partition
from kpc.salesforce.constants import NULL_TOKEN
from kpc.stages.workspace import Workspace
from kpc.storage.manifests import StagedManifest, pre_image_folder
from kpc.storage.store import FileEntry, Store, make_private

log = logging.getLogger(__name__)

_AT_ONCE = threading.BoundedSemaphore(2)  # chunks whose keys are in memory at the same time
_REMEDY = (
    "Without it those records cannot be restored: move the .json file beside it away, they are then left as they are."
)


class PreImage(BaseModel):
    """The receipt of one chunk's image; `chunk_sha256` says of which chunk."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunk: str
    chunk_sha256: str
    header: tuple[str, ...]
    file: FileEntry
    taken_utc: datetime


@dataclass(frozen=True, slots=True)
class KeptImage:
    """A chunk's image and the folder where it lies."""

    folder: Path
    generation: str
    mapping_version: str
    image: PreImage

    @property
    def name(self) -> str:
        """Short and unique within the partition, for what is made of it."""
        return f"{self.generation[-8:]}-{self.mapping_version[:6]}-{chunk_stem(self.image.chunk)}"

    @property
    def rows(self) -> int:
        return self.image.file.rows

    def frames(self, workspace: Workspace, *columns: str) -> Iterator[pl.DataFrame]:
        """The named columns, or all of them, piece by piece. Raises `DamagedFile`."""
        file = workspace.store.file(self.folder, self.image.file, remedy=_REMEDY)
        yield from read_columns(file, columns or self.image.header)


def needs_pre_image(table: Table, workspace: Workspace) -> bool:
    """Whether loads of this table keep what they change. In mode `auto` the org is asked, until it was found empty."""
    mode = workspace.settings.load.pre_image
    if mode != "auto":
        return mode == "on"
    environment, trait = workspace.environment, f"found_empty:{table.slug}"
    if workspace.ledger.trait_of(environment.target_id, trait) == environment.source_id:
        return False
    first = next(workspace.salesforce.query(f"SELECT Id FROM {table.target} LIMIT 1"), None)  # noqa: S608  a constant
    if first is None:
        workspace.ledger.remember_trait(environment.target_id, trait, environment.source_id)
    return first is not None


def keep_pre_image(load: ChunkLoad) -> None:
    """Read and keep the records that a chunk's rows will change, unless that was done or its job has begun.

    Costs API calls and no quota of records or batches. Raises `Paused`, `QuotaExhausted`.
    """
    spec, workspace = load.spec, load.workspace
    folder = load.generation_dir / pre_image_folder(spec.mapping_version)
    if not spec.pre_image or load.live_job() is not None:
        return
    if workspace.store.manifest(folder, PreImage, result_name(spec.chunk)) is not None:
        return
    workspace.ledger.check_pause(load.lease.environment, load.table)
    workspace.store.check_space(spec.raw_bytes)
    with _AT_ONCE, tempfile.TemporaryDirectory(dir=make_private(folder), prefix=".query-") as scratch:
        entry = _write(load, folder, Path(scratch))
    image = PreImage(
        chunk=spec.chunk,
        chunk_sha256=spec.sha256,
        header=image_header(load.table),
        file=entry,
        taken_utc=workspace.clock(),
    )
    workspace.ledger.require_lease(load.lease)
    workspace.store.publish(folder, image, (entry,), result_name(spec.chunk))
    if entry.rows:
        log.info("%s: %s records were there before and are kept as they are now", load, f"{entry.rows:,}")


def _write(load: ChunkLoad, folder: Path, scratch: Path) -> FileEntry:
    header = image_header(load.table)
    few = load.workspace.settings.salesforce.collection_rows
    wanted = WantedKeys.of(read_columns(load.chunk_file(), (EXTERNAL_ID,)), few)
    found = records_of(load.table, wanted, governor_of(load.workspace), load.salesforce, scratch)
    with GzipTable(folder / f"{chunk_stem(load.spec.chunk)}.pre-image.csv.gz", header, GZIP_LEVEL) as table:
        for rows in _of_others(found, load.workspace.ledger):
            table.write(csv_bytes(rows.select(header), null=NULL_TOKEN), rows.height)
        return table.close()


def _of_others(frames: Iterator[pl.DataFrame], ledger: Ledger) -> Iterator[pl.DataFrame]:
    """The records that no generation of this ledger has written; none with the text `#N/A`, which a CSV cannot say."""
    asked: set[str] = set()
    ours: set[str] = set()
    for frame in frames:
        fresh = set(frame[GENERATION_FIELD].drop_nulls()) - asked
        asked |= fresh
        ours |= ledger.known_generations(fresh) if fresh else set()
        is_unsayable = pl.any_horizontal(pl.col(pl.String).eq_missing(NULL_TOKEN))
        yield frame.filter(~pl.col(GENERATION_FIELD).is_in(ours).fill_null(value=False), ~is_unsayable)


def kept_images(partition: Partition, workspace: Workspace) -> list[KeptImage]:
    """What was kept of a partition and not rolled back, oldest generation first."""
    kept = []
    for chunk in workspace.ledger.planned_chunks(workspace.environment, partition):
        generation = workspace.store.generation_dir(workspace.environment, partition, chunk.generation)
        folder = generation / pre_image_folder(chunk.mapping_version)
        image = workspace.store.manifest(folder, PreImage, result_name(chunk.name))
        if image is not None and image.file.rows:
            kept.append(KeptImage(folder, chunk.generation, chunk.mapping_version, image))
    return kept


def kept_rows(staged: StagedManifest, generation_dir: Path, store: Store) -> int:
    """How many records the load of a staged generation has kept as they were before."""
    folder = generation_dir / pre_image_folder(staged.mapping_version)
    images = (store.manifest(folder, PreImage, result_name(chunk.name)) for chunk in staged.chunks)
    return sum(image.file.rows for image in images if image is not None)
