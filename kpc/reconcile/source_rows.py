"""The rows of a sealed extract as Salesforce must hold them, converted in slices."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import polars as pl

from kpc.convert.buckets import BUCKET, bucket_number
from kpc.convert.canonical import CHECKSUM, KEY_HASH, key_hash, row_checksum
from kpc.convert.frame import KEY, FramePlan, plain_columns
from kpc.load.corrected_rows import both_sides, read_corrections, replaced_rows, with_corrections
from kpc.reconcile.comparison_hash import AS_DOUBLE, comparison_hash, number_fields
from kpc.stages.context import PartitionContext
from kpc.staging.partition_rows import slice_rows
from kpc.storage.arrow_memory import compacted
from kpc.storage.manifests import ExtractManifest
from kpc.storage.parquet_file import read_slices
from kpc.storage.prefetch import map_in_parallel

_PARALLEL_SLICES = 2
_LARGER_SLICES = 4  # than staging's, which keeps more columns of each


class SourceRows:
    """Reads an extract any number of times.

    A frame holds `table.data_header` in canonical text, bucket, key_hash, checksum and the comparison hash with this
    seed; `with_measures` adds the measured columns under Oracle's names, and the source key. Without text, `frames` has
    only the hashes. Accepted corrections are applied; `corrected` counts them after a reading.
    """

    def __init__(
        self,
        context: PartitionContext,
        extract: ExtractManifest,
        seed: int,
        *,
        with_measures: bool,
        with_text: bool = True,
    ) -> None:
        self.corrected = 0
        self.seed = seed
        self.has_corrections = False
        self._context = context
        self._table = context.table
        self._extract = extract
        self._corrections = read_corrections(context)
        self.has_corrections = not self._corrections.is_empty()
        self._with_measures = with_measures or self.has_corrections
        self._with_text = with_text
        self._plans: dict[object, FramePlan] = {}

    def frames(self) -> Iterator[pl.DataFrame]:
        """All rows; memory does not grow with their number. Raises `DamagedFile`."""
        self.corrected = 0
        convert = partial(self._convert, with_text=self._with_text)
        for frame, corrected in map_in_parallel(convert, self._slices(), _PARALLEL_SLICES):
            self.corrected += corrected
            yield frame

    def with_hashes(self, hashes: pl.Series) -> Iterator[pl.DataFrame]:
        """The rows with these key hashes; for the others, only the external id is computed. Raises `DamagedFile`."""
        wanted = hashes.to_frame(KEY_HASH)
        for frame in map_in_parallel(partial(self._chosen, wanted=wanted), self._slices(), _PARALLEL_SLICES):
            if frame.height:
                yield self.converted(frame)

    def converted(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Convert rows with the columns of an extract, from any source, into the form of `frames`."""
        return self._convert(frame, with_text=True)[0]

    def replaced(self) -> pl.DataFrame:
        """The rows that accepted corrections replace, in canonical text: as Oracle has them, and as people gave them.

        Reads the extract once more if there are corrections. Raises `DamagedFile`.
        """
        table, found = self._table, pl.DataFrame(schema=both_sides(self._table))
        if not self.has_corrections:
            return found
        wanted = self._corrections.select(key_hash())
        for frame in map_in_parallel(partial(self._chosen, wanted=wanted), self._slices(), _PARALLEL_SLICES):
            plan = self._plan_for(frame)
            rows = plan.typed(frame.lazy()).with_columns(*plan.spelled()).select(*table.data_header)
            found = pl.concat([found, replaced_rows(rows.collect().lazy(), table, self._corrections).collect()])
        return found

    def _chosen(self, frame: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
        """The extracted rows whose external id has one of the wanted hashes."""
        hashes = self._plan_for(frame).typed(frame.lazy()).select(key_hash()).collect()
        return compacted(frame.filter(hashes[KEY_HASH].is_in(wanted[KEY_HASH].implode())))

    def _slices(self) -> Iterator[pl.DataFrame]:
        context, table = self._context, self._table
        folder: Path = context.paths.generation(self._extract.generation).extract
        remedy = f"Extract it again: `kpc rerun {table.name} {context.key}`."
        rows = _LARGER_SLICES * slice_rows(table, context.settings.staging.memory_bytes)
        columns = [column.name for column in table.extracted_columns]
        for chunk in self._extract.chunks:
            path = context.store.file(folder, chunk, remedy=remedy)
            for rows_read in read_slices(path, columns, rows, remedy=remedy):
                yield rows_read.rechunk()  # otherwise each expression joins the pieces of row groups again

    def _convert(self, frame: pl.DataFrame, *, with_text: bool) -> tuple[pl.DataFrame, int]:
        table, plan = self._table, self._plan_for(frame)
        more = [*(column.name for column in table.measured_columns), KEY] if self._with_measures else []
        doubles = [] if self.has_corrections else plan.doubles(AS_DOUBLE)  # a correction is text
        rows = (
            plan.typed(frame.lazy())
            .with_columns(*plan.spelled(), plan.source_key().alias(KEY))
            .select(*table.data_header, *more, *doubles)
        )
        corrected = 0
        if self.has_corrections:
            rows, corrected = with_corrections(rows.collect().lazy(), table, self._corrections)
        rows = rows.with_columns(bucket_number(self._context.key), key_hash(), row_checksum(table))
        if doubles and not with_text:
            rows = rows.drop(number_fields(table))  # their text is needed only for the checksum
        made = rows.collect()
        kept = made.select(*(table.data_header if with_text else ()), *more, BUCKET, KEY_HASH, CHECKSUM)
        return kept.with_columns(comparison_hash(made, table, self.seed)), corrected

    def _plan_for(self, frame: pl.DataFrame) -> FramePlan:
        """The plan for a frame, cached by its schema and its plain columns."""
        plain = plain_columns(frame, self._table)
        kind = (tuple(frame.schema.items()), plain)
        if kind not in self._plans:
            hash_key = self._context.settings.hash_key.get_secret_value()
            self._plans[kind] = FramePlan.of(
                self._table, dict(frame.schema), key=self._context.key, hash_key=hash_key, plain=plain
            )
        return self._plans[kind]
