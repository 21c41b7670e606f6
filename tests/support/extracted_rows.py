"""Extracted rows as the extract stage seals them, and a workspace without live systems to stage them in."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import Column, FieldKind, NullRule, OracleKind, Phase, text, varchar2
from kpc.convert.frame import convert_frame
from kpc.extract.number_reading import read_scale
from kpc.partition import Environment, Partition
from kpc.settings import Settings
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace
from kpc.staging.partition_staging import stage_partition
from kpc.staging.rejects import read_rejected
from kpc.storage.manifests import ControlTotals, ExtractManifest, StagedManifest
from kpc.storage.store import Store, describe_file, write_manifest

MONTH = "2024-05"
HASH_KEY = "campaign-key"
GENERATION = "01JAAAAAAAAAAAAAAAAAAAAAAA"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def key_of(table: Table) -> str:
    return MONTH if table.is_monthly else "ALL"


def parquet_type(table: Table, column: Column) -> pl.DataType:
    """The type in which an extract holds a column."""
    if column.source.is_text:
        return pl.String()
    if column.source.kind is OracleKind.NUMBER:
        return pl.Decimal(38, read_scale(table, column))
    return pl.Datetime("us")


def good_value(column: Column, number: int) -> object:
    """A value that breaks no rule; those of the key differ from row to row."""
    if column.date_format is not None:
        year = 2024 + column.calendar.year_offset
        day = f"{number % 28 + 1:02d}"
        text = f"{day}/05/{year}" if column.date_format.is_day_first else f"{year}-05-{day}"
        return text + (" 13:05:59" if column.date_format.has_time else "")
    if column.source.is_text:
        return _good_text(column, number)
    if column.source.kind is OracleKind.NUMBER:
        return Decimal(number % 2 if column.type and column.type.kind is FieldKind.BOOLEAN else number)
    return datetime(2024, 5, 1, 3)  # noqa: DTZ001  an Oracle DATE has no zone


def _good_text(column: Column, number: int) -> str:
    if column.type and column.type.kind is FieldKind.BOOLEAN:
        return "YN"[number % 2]
    if column.picklist_map:
        return column.picklist_map[number % len(column.picklist_map)][0]
    size = column.source.size or 20
    text = f"{column.name[:3]}{number}"[-size:] if size > 3 else f"{number:0{size}d}"[-size:]
    return text.ljust(size) if column.source.kind is OracleKind.CHAR else text


def rows_of(table: Table, rows: int, first: int = 1, **given: Sequence[object]) -> pl.DataFrame:
    """Rows that break no rule, numbered from `first`; `given` replaces whole columns."""
    data = {
        column.name: list(given.get(column.name) or [good_value(column, first + row) for row in range(rows)])
        for column in table.columns
    }
    return pl.DataFrame(data, schema={column.name: parquet_type(table, column) for column in table.columns})


def one_row(table: Table, **given: object) -> pl.DataFrame:
    return rows_of(table, 1, **{name: [value] for name, value in given.items()})


@dataclass(frozen=True)
class Bench:
    """Settings, files and a fixed clock: what staging needs of a workspace."""

    settings: Settings
    store: Store
    environment: Environment

    def clock(self) -> datetime:
        return NOON

    def seal(
        self, table: Table, frames: Sequence[pl.DataFrame], *, mode: str = "incremental", generation: str = GENERATION
    ) -> ExtractManifest:
        """Write the frames as the chunks of a sealed extract."""
        partition = Partition(table, key_of(table))
        folder = self.context(table).paths.generation(generation).extract
        folder.mkdir(parents=True, exist_ok=True)
        chunks = []
        for number, frame in enumerate(frames, 1):
            path = folder / f"chunk-{number:05d}.parquet"
            frame.write_parquet(path)
            chunks.append(describe_file(path, rows=frame.height))
        rows = sum(frame.height for frame in frames)
        manifest = ExtractManifest(
            table=table.name,
            key=partition.key,
            generation=generation,
            source_id="source",
            target_id="target",
            scn=1,
            mode=cast(Any, mode),
            spec_hash="spec",
            rows=rows,
            control_totals=ControlTotals(rows=rows),
            chunks=tuple(chunks),
            started_utc=NOON,
            sealed_utc=NOON,
        )
        write_manifest(folder, manifest)
        return manifest

    def stage(self, table: Table, extract: ExtractManifest) -> StagedManifest:
        return stage_partition(self.context(table), extract)

    def context(self, table: Table) -> PartitionContext:
        """The table's partition; of a workspace, staging needs no more than there is here."""
        return PartitionContext(cast(Workspace, self), Partition(table, key_of(table)))

    def folder(self, table: Table, generation: str = GENERATION) -> Path:
        return self.context(table).paths.generation(generation).staged(table.mapping_version)

    def partition_folder(self, table: Table) -> Path:
        return self.context(table).paths.folder

    def sent(self, table: Table, manifest: StagedManifest) -> pl.DataFrame:
        """The rows of all chunks, in order, as text; a null is the text #N/A, an empty cell is null."""
        folder = self.folder(table, manifest.generation)
        frames = [read_chunk(folder / chunk.name) for chunk in manifest.chunks]
        return pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(table.header, pl.String))

    def rejected(self, table: Table, manifest: StagedManifest) -> pl.DataFrame:
        assert manifest.rejected_file is not None
        return read_rejected(self.folder(table, manifest.generation) / manifest.rejected_file.name)


def read_chunk(path: Path) -> pl.DataFrame:
    """A chunk as any CSV reader sees it."""
    return pl.read_csv(gzip.decompress(path.read_bytes()), infer_schema=False)


def bench(root: Path, *, free_bytes: int = 0, memory_bytes: int | None = None, **staging: object) -> Bench:
    """Staging in a folder; `memory_bytes` may be less than the settings allow, so that few rows need many runs."""
    settings = Settings(staging=cast(Any, {"root": root, **staging}), hash_key=cast(Any, HASH_KEY))
    if memory_bytes is not None:
        cramped = settings.staging.model_copy(update={"memory_bytes": memory_bytes})
        settings = settings.model_copy(update={"staging": cramped})
    return Bench(settings, Store(root, free_bytes), Environment("source", "target"))


def probe(column: Column) -> Table:
    """A table with one column beside its key ID, for rules of a single value."""
    identifier = Column("ID", varchar2(60), "Id_Text__c", text(60), NullRule.REJECT, nullable=False)
    return Table("PROBE", "Probe__c", Phase.REFERENCE, (identifier, column), ("ID",), 1, ())


def converted(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    return convert_frame(frame, table, key=key_of(table), hash_key=HASH_KEY).collect()


def probed(column: Column, values: Sequence[object], dtype: pl.DataType | None = None) -> pl.DataFrame:
    """How these values of a single column are converted: its field, `__rule` and the rest of `convert_frame`."""
    rows = [f"R{number:05d}" for number in range(len(values))]
    given = pl.Series(column.name, list(values), dtype=dtype or parquet_type(probe(column), column), strict=True)
    return converted(probe(column), pl.DataFrame([pl.Series("ID", rows, dtype=pl.String), given]))
