"""Reading the rows that Salesforce refused, and exporting them to CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.errors import ConfigError
from kpc.ledger import FailedRecord
from kpc.load.chunk_result import ChunkResult
from kpc.load.plan import result_of
from kpc.repair.correction_file import CLASS, CODE, MESSAGE, NOTES, PARTITION
from kpc.repair.spreadsheet_cells import protected
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import staged_manifest
from kpc.staging.rejected_rows import REJECTED_CLASS
from kpc.storage.manifests import StagedManifest
from kpc.storage.store import atomic_path

RESULT_REMEDY = "Remove the chunk's .json file beside it and run the load again; its results are read again."


def refused_rows(context: PartitionContext) -> pl.DataFrame:
    """NOTES and the whole row, as text, of every open failure with a row; includes personal values."""
    table = context.table
    records = open_failures(context)
    empty = pl.DataFrame(schema=dict.fromkeys((*NOTES, *table.header), pl.String))
    if not records:
        return empty
    staged = staged_manifest(context)
    notes = pl.DataFrame(
        [[r.external_id, context.key, r.error_class, r.error_code, r.message] for r in records.values()],
        schema=dict.fromkeys((EXTERNAL_ID, PARTITION, CLASS, CODE, MESSAGE), pl.String),
        orient="row",
    )
    frames = [rows_not_loaded(context, staged, result) for result in chunk_results(context, staged)]
    rows = pl.concat([empty.select(table.header), *frames])
    return rows.join(notes, on=EXTERNAL_ID, how="inner").select(*NOTES, *table.header).sort(EXTERNAL_ID)


def open_failures(context: PartitionContext) -> dict[str, FailedRecord]:
    """The refused rows, by external id in lower case. Excludes rows that staging rejected: they have no CSV form."""
    records = context.ledger.failures.of_partition(context.environment, context.partition)
    return {record.external_id.lower(): record for record in records if record.error_class != REJECTED_CLASS}


def chunk_results(context: PartitionContext, staged: StagedManifest) -> list[ChunkResult]:
    """The recorded results of the finished chunks, in the order of the chunks."""
    folder = context.paths.generation(staged.generation).loaded(staged.mapping_version)
    results = [result_of(folder, entry.name, context.store) for entry in staged.chunks]
    return [result for result in results if result is not None]


def rows_not_loaded(context: PartitionContext, staged: StagedManifest, result: ChunkResult) -> pl.DataFrame:
    """The failed and the unprocessed rows of a chunk, with the columns of its CSV, as text."""
    folder = context.paths.generation(staged.generation).loaded(staged.mapping_version)
    entries = (result.failed_file, result.unprocessed_file)
    paths = [context.store.file(folder, entry, remedy=RESULT_REMEDY) for entry in entries]
    frames = [pl.read_csv(path, infer_schema=False).fill_null("") for path in paths]
    return pl.concat([frame.select(context.table.header) for frame in frames])


def export_refused(partitions: Iterable[PartitionContext], table: Table, file: Path) -> int:
    """Write the refused rows of partitions of one table to a CSV file that only its owner can read; returns how many.

    The file can be corrected in a spreadsheet and imported again: it is marked as UTF-8, and cells that a spreadsheet
    would run or rewrite are protected. Raises `ConfigError` if its folder does not exist, or
    if something other than a file has its name.
    """
    _check_target(file)
    rows = 0
    with atomic_path(file.resolve()) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as text:
        writer = csv.writer(text)
        writer.writerow((*NOTES, *table.header))
        for context in partitions:
            for row in refused_rows(context).iter_rows():
                writer.writerow(map(protected, row))
                rows += 1
    return rows


def _check_target(file: Path) -> None:
    if not file.resolve().parent.is_dir():
        raise ConfigError(f"The folder of --export {file} does not exist.", "Make it first, or name another file.")
    if file.exists() and not file.is_file():
        raise ConfigError(
            f"--export {file} is a folder or a device, not a file.", "Name a file; it holds personal values."
        )
