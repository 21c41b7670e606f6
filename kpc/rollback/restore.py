"""Which records a rollback may set back to their pre-image, and whether they equal it afterwards.

A record is set back if it carries the marker of one of the migration's generations and all its fields are as sent.
Without the marker the migration never touched it, or it is set back already; with other values somebody has changed it
since, and such changes are not overwritten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, GENERATION_FIELD
from kpc.convert.canonical import CHECKSUM, KEY_HASH, key_hash, row_checksum
from kpc.convert.gzip_csv import GzipTable, csv_bytes
from kpc.ledger import ChunkRow
from kpc.load.chunk_result import GZIP_LEVEL, read_columns
from kpc.load.corrected_rows import sent_corrections
from kpc.load.org_records import ID, image_header, records_of
from kpc.load.pre_image import KeptImage
from kpc.private_files import make_private
from kpc.salesforce.constants import NULL_TOKEN
from kpc.stages.context import LeasedContext
from kpc.storage.manifests import StagedManifest
from kpc.storage.store import FileEntry

_DIGEST = "digest"  # over all fields of a record that we write
_AS_SENT, _SPELLED = "is_as_sent", "spelled"
_REMEDY = "Roll the partition back again; the file is written again."


class RestoreManifest(BaseModel):
    """What is set back of one image: `rows`, `known` of them in the loaded index; `changed` ones are left.

    `differing` is known afterwards: records that do not equal their image. `index_digest` as in
    `kpc.rollback.deletion`: if the partition was loaded since, the plan is void.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[FileEntry, ...]
    rows: int
    known: int
    changed: int
    changed_file: FileEntry
    index_digest: str
    differing: int | None = None

    @property
    def is_done(self) -> bool:
        return self.differing is not None


def restore_name(kept: KeptImage) -> str:
    return f"restore-{kept.name}.json"


@dataclass(frozen=True)
class Restoring:
    """One rollback's work on pre-images, in its `folder`; `tag` distinguishes this run's files from those of others."""

    context: LeasedContext
    folder: Path
    tag: str
    index_digest: str

    @property
    def _header(self) -> tuple[str, ...]:
        return image_header(self.context.table)

    def plan(self, kept: KeptImage, newer: Sequence[KeptImage], earlier: RestoreManifest | None) -> RestoreManifest:
        """Choose the records of a pre-image to restore, and write them to files. Records of a `newer` one are left out.

        Records that an `earlier`, unfinished plan has set back already are chosen again, so that they are counted.
        """
        images = self._digests(kept, newer)
        sent = self._sent(kept.frames(self.context.store, EXTERNAL_ID))
        state = self._state(kept.frames(self.context.store, EXTERNAL_ID), images, sent)
        begun = state.join(self._planned(earlier), on=ID, how="semi")
        touched = state.filter(pl.col(GENERATION_FIELD).is_in(self._generations))
        restored = begun.join(images, on=[ID, _DIGEST], how="semi")
        chosen = pl.concat([touched.filter(_AS_SENT), restored]).unique(ID)
        changed = pl.concat([touched, begun]).unique(ID).join(chosen, on=ID, how="anti")
        stem = f"{self.tag}-{kept.name}"
        files = self._write(stem, kept.frames(self.context.store), chosen.select(ID))
        manifest = RestoreManifest(
            files=files,
            rows=chosen.height,
            known=self._known(chosen),
            changed=changed.height,
            changed_file=self._list(f"changed-{stem}.csv.gz", changed),
            index_digest=self.index_digest,
        )
        self.context.store.publish(self.folder, manifest, (*files, manifest.changed_file), restore_name(kept))
        for entry in earlier.files if earlier else ():
            self.context.store.remove(self.folder / entry.name)
        return manifest

    def finish(self, kept: KeptImage, manifest: RestoreManifest) -> RestoreManifest:
        """Read the restored records back and record how many do not equal their image."""
        differing = 0
        for entry in manifest.files:
            file = self.context.store.file(self.folder, entry, remedy=_REMEDY)
            wanted = pl.concat([_digested(frame, self._header) for frame in read_columns(file, self._header)])
            state = self._state(read_columns(file, (EXTERNAL_ID,)), wanted, self._sent(iter(())))
            differing += wanted.join(state, on=[ID, _DIGEST], how="anti").height
        done = manifest.model_copy(update={"differing": differing})
        self.context.store.publish(self.folder, done, name=restore_name(kept))
        return done

    def _digests(self, kept: KeptImage, newer: Sequence[KeptImage]) -> pl.DataFrame:
        """Id and digest of the records of a pre-image that no newer one contains."""
        found = pl.concat([_digested(frame, self._header) for frame in kept.frames(self.context.store)])
        for image in newer:
            for frame in image.frames(self.context.store, ID):
                found = found.join(frame, on=ID, how="anti")
        return found

    def _state(self, keys: Iterator[pl.DataFrame], records: pl.DataFrame, sent: pl.DataFrame) -> pl.DataFrame:
        """The current state of `records` in the org, found by key: Id, external id, mark, digest, is as `sent`."""
        context, table = self.context, self.context.table
        columns = (ID, EXTERNAL_ID, GENERATION_FIELD, _DIGEST, _AS_SENT)
        schema = dict.fromkeys(columns, pl.String()) | {_DIGEST: pl.UInt64(), _AS_SENT: pl.Boolean()}
        found = [pl.DataFrame(schema=schema)]
        wanted = [key for frame in keys for key in frame[EXTERNAL_ID]]
        for rows in records_of(table, wanted, context.governor, context.salesforce):
            ours = rows.join(records.select(ID), on=ID, how="semi")
            same = _as_sent(ours, sent, table).with_columns(pl.lit(value=True).alias(_AS_SENT))
            state = ours.with_columns(_digest(self._header)).join(same, on=ID, how="left")
            found.append(state.with_columns(pl.col(_AS_SENT).fill_null(value=False)).select(columns))
        return pl.concat(found).unique(ID)

    def _planned(self, earlier: RestoreManifest | None) -> pl.DataFrame:
        frames = [pl.DataFrame(schema={ID: pl.String})]
        for entry in earlier.files if earlier else ():
            frames += read_columns(self.context.store.file(self.folder, entry, remedy=_REMEDY), (ID,))
        return pl.concat(frames)

    @cached_property
    def _generations(self) -> list[str]:
        """The generations of all planned loads of the partition: the marks of this migration."""
        return list(dict.fromkeys(chunk.generation for chunk in self._planned_chunks))

    @cached_property
    def _planned_chunks(self) -> list[ChunkRow]:
        return self.context.ledger.chunks.planned(self.context.environment, self.context.partition)

    @cached_property
    def _indexes(self) -> list[Path]:
        """The index files of what was sent, with external_id, key_hash and checksum."""
        store, paths = self.context.store, self.context.paths
        indexes = [paths.loaded_index] if paths.loaded_index.is_file() else []
        for mark, version in dict.fromkeys((chunk.generation, chunk.mapping_version) for chunk in self._planned_chunks):
            folder = paths.generation(mark).staged(version)
            if staged := store.manifest(folder, StagedManifest):
                indexes.append(store.file(folder, staged.index_file, remedy="Stage the partition again."))
        return indexes

    def _sent(self, keys: Iterator[pl.DataFrame]) -> pl.DataFrame:
        """Key hash, external id as we spell it, and checksum of every version of these rows that may have been sent."""
        columns = [KEY_HASH, _SPELLED, CHECKSUM]
        schema = {KEY_HASH: pl.UInt64(), _SPELLED: pl.String(), CHECKSUM: pl.UInt64()}
        hashes = pl.concat([pl.DataFrame(schema=schema), *(frame.select(key_hash()) for frame in keys)], how="diagonal")
        wanted = hashes.lazy().select(KEY_HASH)
        corrected = sent_corrections(self.context)
        found = [corrected.select(key_hash(), pl.col(EXTERNAL_ID).alias(_SPELLED), row_checksum(self.context.table))]
        if hashes.height:
            found += [
                pl.scan_parquet(index)
                .select(KEY_HASH, pl.col("external_id").alias(_SPELLED), CHECKSUM)
                .join(wanted, on=KEY_HASH, how="semi")
                .collect(engine="streaming")
                for index in self._indexes
            ]
        return pl.concat(found).select(columns).unique()

    def _known(self, chosen: pl.DataFrame) -> int:
        """How many of the records are in the loaded index as updated."""
        path = self.context.paths.loaded_index
        if not path.is_file():
            return 0
        index = pl.scan_parquet(path).filter(~pl.col("created"))
        ids = chosen.lazy().select(pl.col(ID).alias("salesforce_id"))
        return (
            index.select("salesforce_id").join(ids, on="salesforce_id", how="semi").collect(engine="streaming").height
        )

    def _write(self, stem: str, frames: Iterator[pl.DataFrame], chosen: pl.DataFrame) -> tuple[FileEntry, ...]:
        """Write the chosen records of a pre-image to files that each fit into one upload."""
        most = self.context.settings.staging.chunk_raw_bytes
        files: list[FileEntry] = []
        parts = (part for frame in frames for part in [frame.join(chosen, on=ID, how="semi")] if part.height)
        part = next(parts, None)
        while part is not None:
            name = f"restore-{stem}-{len(files) + 1:03d}.csv.gz"
            with GzipTable(make_private(self.folder) / name, self._header, GZIP_LEVEL) as table:
                while part is not None and (table.rows == 0 or table.raw_bytes < most // 2):
                    table.write(csv_bytes(part, null=""), part.height)
                    part = next(parts, None)
                files.append(table.close())
        return tuple(files)

    def _list(self, name: str, records: pl.DataFrame) -> FileEntry:
        header = (ID, EXTERNAL_ID)
        with GzipTable(make_private(self.folder) / name, header, GZIP_LEVEL) as table:
            table.write(csv_bytes(records.select(header), null=""), records.height)
            return table.close()


def _as_sent(rows: pl.DataFrame, sent: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Id of the records that still hold the values sent. The org may have kept its own spelling of the external id."""
    spelled = rows.join(sent.rename({CHECKSUM: "sent"}), on=KEY_HASH, how="inner")
    spelled = spelled.with_columns(pl.col(_SPELLED).alias(EXTERNAL_ID)).with_columns(row_checksum(table))
    return spelled.filter(pl.col(CHECKSUM) == pl.col("sent")).select(ID).unique()


def _digest(header: Sequence[str]) -> pl.Expr:
    cells = [pl.col(name).fill_null(NULL_TOKEN) for name in header]
    return pl.concat_str(cells, separator="\x1f").hash(7).alias(_DIGEST)


def _digested(frame: pl.DataFrame, header: Sequence[str]) -> pl.DataFrame:
    return frame.select(ID, _digest(header))
