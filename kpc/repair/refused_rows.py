"""Reading the rows that Salesforce refused, exporting them to CSV, and reading the corrected file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.field_check import wrong_cells
from kpc.errors import ConfigError, RowsRejected
from kpc.ledger import FailedRecord
from kpc.load.chunk_result import ChunkResult
from kpc.load.plan import result_of
from kpc.salesforce.constants import NULL_TOKEN
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import staged_manifest
from kpc.staging.rejected_rows import REJECTED_CLASS
from kpc.storage.manifests import StagedManifest
from kpc.storage.store import atomic_path

PARTITION, CLASS, CODE, MESSAGE = "_partition", "_class", "_code", "_message"
NOTES = (PARTITION, CLASS, CODE, MESSAGE)
RESULT_REMEDY = "Remove the chunk's .json file beside it and run the load again; its results are read again."

Edits = Mapping[str, Mapping[str, str]]  # by external id in lower case: the corrected cells by field


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
        schema=dict.fromkeys((EXTERNAL_ID, *NOTES), pl.String),
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


def export_refused(partitions: Iterable[PartitionContext], file: Path) -> int:
    """Write the refused rows of partitions of one table to a CSV file that only its owner can read; returns how many.

    The file can be corrected in a spreadsheet and imported again. Raises `ConfigError` if its folder does not exist, or
    if something other than a file has its name.
    """
    _check_target(file)
    frames = [refused_rows(context) for context in partitions]
    rows = pl.concat(frames) if frames else pl.DataFrame()
    with atomic_path(file.resolve()) as temporary:
        rows.write_csv(temporary)
    return rows.height


def _check_target(file: Path) -> None:
    if not file.resolve().parent.is_dir():
        raise ConfigError(f"The folder of --export {file} does not exist.", "Make it first, or name another file.")
    if file.exists() and not file.is_file():
        raise ConfigError(
            f"--export {file} is a folder or a device, not a file.", "Name a file; it holds personal values."
        )


def read_edits(file: Path, table: Table) -> dict[str, Edits]:
    """The corrected rows of an exported file, by partition key. Nothing is sent yet.

    Raises `ConfigError` for a file that is not an export of this table, `RowsRejected` listing every invalid cell by
    line and field, without its value.
    """
    edits: dict[str, dict[str, dict[str, str]]] = {}
    wrong: list[str] = []
    for line, row in _read_lines(file, table):
        cells = {name: value for name, value in row.items() if name in table.data_header and name != EXTERNAL_ID}
        wrong += [f"line {line}, {name} {reason}" for name, reason in wrong_cells(table, cells)]
        nulls = {column.field for column in table.sent_columns}
        cells = {name: NULL_TOKEN if value == "" and name in nulls else value for name, value in cells.items()}
        mine = edits.setdefault(row.get(PARTITION, ""), {})
        if mine.setdefault(row[EXTERNAL_ID].lower(), cells) is not cells:
            wrong.append(f"line {line} has the same {EXTERNAL_ID} as an earlier line")
    if wrong:
        shown = "\n  ".join(wrong[:20])
        raise RowsRejected(
            f"{len(wrong):,} cells of {file} cannot be loaded:\n  {shown}",
            "Correct them and import the file again; nothing was sent.",
            rows=len(wrong),
            path=file,
        )
    return dict(edits)


def _read_lines(file: Path, table: Table) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text, strict=True, restkey=MESSAGE)
            names = reader.fieldnames or ()
            unknown = [name for name in names if name not in (*NOTES, *table.header)]
            if unknown or EXTERNAL_ID not in names or PARTITION not in names:
                raise ConfigError(
                    f"{file} is not an export of {table.name}"
                    f"{': it has the columns ' + ', '.join(unknown) if unknown else ''}.",
                    f"Export one with `kpc failed {table.name} --export FILE` and correct its cells; keep its header.",
                )
            for row in reader:
                yield reader.line_num, {name: value if isinstance(value, str) else "" for name, value in row.items()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{file} cannot be read as CSV in UTF-8: {error}.", "Save it as CSV UTF-8.") from None
