"""A partition of generated rows, staged and loaded by the pipeline's own functions, to measure the cost of a load."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from pydantic import SecretStr

from kpc.bench.request_record import RequestRecord
from kpc.catalog import find_table
from kpc.catalog.table import Table
from kpc.catalog.types import ALL, EXTERNAL_ID, GENERATION_FIELD, PARTITION_FIELD, FieldKind, FieldType
from kpc.convert.buckets import marker_cell
from kpc.convert.canonical import CHECKSUM, KEY_HASH, key_hash
from kpc.convert.gzip_csv import GzipTable, csv_bytes
from kpc.convert.key_sum import KeySum
from kpc.gzip_files import open_gzip_to_read
from kpc.ledger import open_ledger
from kpc.load.mapped_chunks import begin_chunk, finish_chunk, plan_load, poll_chunk
from kpc.load.upload_encoding import ENCODING_TRAIT
from kpc.partition import Environment, Partition, find_partition
from kpc.private_files import make_private
from kpc.salesforce import connect
from kpc.settings import SalesforceSettings, Settings, StagingSettings
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace
from kpc.storage.manifests import StagedManifest
from kpc.storage.parquet_file import ParquetTable
from kpc.storage.store import FileEntry, write_manifest

MADE_UP = "made-up"  # the source database of the samples
_SLICE_ROWS = 20_000
_NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
_BLOCK_BYTES = 1 << 20


def stage_sample(folder: str, org: Mapping[str, str], table: str, rows: int, chunk_rows: int | None = None) -> str:
    """Stage `rows` rows of a partition under `folder` as one chunk, or in chunks of `chunk_rows`.

    Returns the path of the rows of the first chunk as plain CSV.
    """
    workspace = open_sample(Path(folder), org)
    partition = sample_partition(table)
    with workspace.ledger.leases.hold(
        workspace.environment, partition, "oracle_extract", owner="sample", ttl_s=60, wait_s=5
    ) as lease:
        generation = workspace.ledger.generations.start(
            workspace.environment, partition, scn=1, mode="full", spec_hash="sample", run_id="sample", lease=lease
        )
        workspace.ledger.generations.seal(generation, rows=rows, raw_bytes=1, lease=lease)
    paths = PartitionContext(workspace, partition).paths.generation(generation)
    directory = make_private(paths.staged(partition.table.mapping_version))
    chunks, index = _write(directory, partition, generation, rows, chunk_rows or rows)
    write_manifest(directory, _manifest(partition, generation, rows, chunks, index))
    # As in a campaign, where the small reference tables have tested gzip before the first large chunk.
    workspace.ledger.org_facts.remember(workspace.salesforce.org_id, ENCODING_TRAIT, "gzip")
    workspace.close()
    return str(_unpacked(directory / chunks[0].name, Path(folder) / "rows.csv"))


def load_sample(folder: str, org: Mapping[str, str], table: str, *, with_results: bool = True) -> int:
    """Load the staged rows as the ingest tasks of a run do: checks, upload, polling, results and bookkeeping.

    Returns the rows that Salesforce processed. Joining the chunks and updating loaded_index is another task's work;
    without results the job is only followed to its end.
    """
    workspace = open_sample(Path(folder), org)
    loaded = 0
    try:
        for spec in plan_load(PartitionContext(workspace, sample_partition(table))):
            job_id = begin_chunk(workspace, spec)
            while not (state := poll_chunk(workspace, spec, job_id)).is_final:
                time.sleep(state.wait_s)
            loaded += finish_chunk(workspace, spec, job_id).loaded if with_results else state.processed
    finally:
        workspace.close()
    return loaded


def sample_partition(table: str) -> Partition:
    return find_partition(table, "2024-01" if find_table(table).is_monthly else ALL)


def open_sample(
    folder: Path, org: Mapping[str, str], *, transport: RequestRecord | None = None, jobs_in_flight: int = 15
) -> Workspace:
    """The workspace of the staged rows. `transport` sees every request, for a benchmark that counts them."""
    salesforce = SalesforceSettings(
        base_url=org["base_url"],
        client_id=org["client_id"],
        client_secret=SecretStr(org["client_secret"]),
        jobs_in_flight=jobs_in_flight,
    )
    settings = sample_settings(folder, salesforce)
    client = connect(settings.salesforce, transport)
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    environment = Environment(MADE_UP, client.org_id)
    return Workspace(settings, ledger, "sample", "bench", salesforce=client, environment=environment)


def sample_settings(folder: Path, salesforce: SalesforceSettings | None = None) -> Settings:
    """Settings with the ledger and the staging root in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    return Settings(
        salesforce=salesforce or SalesforceSettings(),
        staging=StagingSettings(root=folder / "staging", free_bytes=0),
        ledger_url=SecretStr(f"sqlite:///{folder}/ledger.db"),
    )


def _write(
    folder: Path, partition: Partition, generation: str, rows: int, chunk_rows: int
) -> tuple[tuple[FileEntry, ...], FileEntry]:
    schema = {"external_id": pl.String(), KEY_HASH: pl.UInt64(), CHECKSUM: pl.UInt64()}
    with ParquetTable(folder / "index.parquet", schema) as index:
        chunks = [
            _write_chunk(folder / f"chunk-{number:05d}.csv.gz", partition, generation, range(start, end), index)
            for number, start in enumerate(range(0, rows, chunk_rows), 1)
            for end in [min(rows, start + chunk_rows)]
        ]
        return tuple(chunks), index.close()


def _write_chunk(path: Path, partition: Partition, generation: str, rows: range, index: ParquetTable) -> FileEntry:
    table, keys = partition.table, KeySum()
    with GzipTable(path, table.header, 1) as file:
        for start in range(rows.start, rows.stop, _SLICE_ROWS):
            frame = _rows(table, partition.key, generation, start, min(_SLICE_ROWS, rows.stop - start))
            file.write(csv_bytes(frame, null="#N/A"), frame.height)
            rows_index = frame.select(pl.col(EXTERNAL_ID).alias("external_id"), key_hash(), _checksum(table))
            index.write(rows_index)
            keys.add(rows_index[KEY_HASH])
        return file.close().model_copy(update={"key_sum": str(keys)})


def _checksum(table: Table) -> pl.Expr:
    return pl.concat_str(table.data_header).hash(1).alias(CHECKSUM)


def _rows(table: Table, key: str, generation: str, start: int, rows: int) -> pl.DataFrame:
    """Rows with plausible values: varying numbers, texts of about twelve characters, some Thai."""
    number = pl.int_range(start, start + rows)
    cells = {
        EXTERNAL_ID: pl.concat_str(pl.lit("01|SHOP|BR01|POS7|S"), number, pl.lit("|2024-01-15|1")),
        GENERATION_FIELD: pl.lit(generation),
        **{lookup.header: pl.concat_str(pl.lit("01|SHOP|BR01|POS7|S"), number // 3) for lookup in table.lookups},
        **{
            column.field or "": _cell(column.type, number, place)
            for place, column in enumerate(table.sent_columns)
            if column.type is not None
        },
    }
    frame = pl.select(cell.cast(pl.String).alias(name) for name, cell in cells.items())
    return frame.with_columns(marker_cell(key).alias(PARTITION_FIELD)).select(table.header)


def _cell(kind: FieldType, number: pl.Expr, place: int) -> pl.Expr:
    if kind.is_number:
        digits = (number * (place + 7) % 9973).cast(pl.String).str.slice(0, kind.precision - kind.scale)
        return pl.concat_str(digits, pl.lit(f".{'5' * kind.scale}")) if kind.scale else digits
    fixed = {
        FieldKind.BOOLEAN: "true",
        FieldKind.DATE: "2024-01-15",
        FieldKind.DATETIME: "2024-01-15T05:00:00.000Z",
        FieldKind.EMAIL: "somebody@example.org",
        FieldKind.PICKLIST: kind.values[0] if kind.values else "A",
    }
    if kind.kind in fixed:
        return pl.lit(fixed[kind.kind])
    return pl.concat_str(pl.lit("ชื่อ "), number).str.slice(0, min(kind.length, 16))


def _manifest(
    partition: Partition, generation: str, rows: int, chunks: tuple[FileEntry, ...], index: FileEntry
) -> StagedManifest:
    return StagedManifest(
        table=partition.table.name,
        key=partition.key,
        generation=generation,
        mapping_version=partition.table.mapping_version,
        extracted=rows,
        staged=rows,
        unchanged=0,
        rejected=0,
        truncated=0,
        header=partition.table.header,
        chunks=chunks,
        rejected_file=None,
        index_file=index,
        fingerprint_file=index,
        started_utc=_NOON,
        finished_utc=_NOON,
    )


def _unpacked(packed: Path, file: Path) -> Path:
    with open_gzip_to_read(packed) as source, file.open("wb") as plain:
        while block := source.read(_BLOCK_BYTES):
            plain.write(block)
    return file
