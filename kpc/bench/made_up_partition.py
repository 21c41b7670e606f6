"""A month of made-up sales lines that is extracted and loaded, without the work of either.

The org's data file and the sealed extract are written directly; only their manifests go through the stages' own code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from kpc.bench.made_up_lines import LINES_PER_SALE, MONTH, SALE, TABLE, Lines, lines, sale_keys
from kpc.bench.sample_load import MADE_UP, open_sample, sample_settings
from kpc.catalog import find_table
from kpc.catalog.types import EXTERNAL_ID, PARTITION_FIELD
from kpc.emulators.salesforce.org.clock import Clock
from kpc.emulators.salesforce.org.org import Org
from kpc.emulators.salesforce.org.record_ids import record_ids
from kpc.emulators.salesforce.org.schema import SObject
from kpc.emulators.salesforce.org.storage import quoted
from kpc.emulators.salesforce.settings import Switches
from kpc.extract.control_totals import added_up, measure_rows
from kpc.extract.live_schema import arrow_schema
from kpc.extract.partition_extract import seal
from kpc.ledger import open_ledger
from kpc.partition import Environment, find_partition
from kpc.private_files import make_private
from kpc.reconcile.partition_reconciliation import PartitionComparison, compare_partition, publish_report
from kpc.reconcile.report import ReconciliationReport
from kpc.stages.context import PartitionContext, StageContext
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, SF_LOADED
from kpc.stages.stage_run import run_stage
from kpc.stages.workspace import Workspace
from kpc.storage.manifests import ControlTotals, ExtractManifest, LoadManifest
from kpc.storage.parquet_file import ExtractParquet
from kpc.storage.store import FileEntry, write_manifest

SEED = 42
_SLICE_ROWS = 100_000
_CHUNK_ROWS = 500_000
_BATCH_ROWS = 5_000  # about as many as an extract fetches at a time, and so the rows of a Parquet row group
_NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
_FIXED = {
    "IsDeleted": "false",
    **dict.fromkeys(("CreatedDate", "LastModifiedDate", "SystemModstamp"), "$now"),
    **dict.fromkeys(("OwnerId", "CreatedById", "LastModifiedById"), "$user"),
}


def new_org(data_file: Path) -> str:
    """An empty org in this file; returns its id."""
    org = Org(data_file, clock=Clock(), switches=Switches(), seed=SEED)
    org.close()
    return org.identity.org_id


def fill_org(data_file: str, rows: int) -> int:
    """Add the `rows` lines and their sales to an org, as a load of this project leaves them. Returns the rows."""
    org = Org(Path(data_file), clock=Clock(), switches=Switches(), seed=SEED)
    try:
        line, sale = (object_of(org, name) for name in (TABLE.name, TABLE.lookups[0].parent))
        for records in _sales(sale, -(-rows // LINES_PER_SALE)):
            _insert(org, sale, records)
        for records in _lines(line, sale, rows):
            _insert(org, line, records)
    finally:
        org.close()
    return rows


def _sales(sale: SObject, sales: int) -> Iterator[pl.DataFrame]:
    for first in range(0, sales, _SLICE_ROWS):
        keys = sale_keys(first, min(_SLICE_ROWS, sales - first))
        yield pl.DataFrame([record_ids(sale.prefix, first + 1, keys.len(), SEED).alias("Id"), keys])


def _lines(line: SObject, sale: SObject, rows: int) -> Iterator[pl.DataFrame]:
    for first, made in _slices(rows):
        records = made.salesforce
        number = records[SALE]
        base, count = int(number[0]), int(number[-1] - number[0]) + 1
        parents = record_ids(sale.prefix, 1 + base, count, SEED).gather(number - base)
        ids = record_ids(line.prefix, first + 1, records.height, SEED)
        marks = markers_of(records[EXTERNAL_ID])
        yield records.drop(SALE).with_columns(ids.alias("Id"), parents.alias(TABLE.lookups[0].field), marks)


def object_of(org: Org, table: str) -> SObject:
    """The object that a table's rows are loaded into."""
    found = org.whole_schema.find(find_table(table).target)
    assert found is not None  # noqa: S101  the org holds every object of the catalog
    return found


def _insert(org: Org, sobject: SObject, records: pl.DataFrame) -> None:
    keyed = records.with_columns(
        pl.col(key.name).str.to_lowercase().alias(key.key_column) for key in sobject.keys if key.name in records.columns
    )
    names = ", ".join(map(quoted, [*keyed.columns, *_FIXED]))
    values = ", ".join([*map(quoted, keyed.columns), *_FIXED.values()])
    with org.storage.writing() as session, session.given("made_up", keyed.to_arrow()):
        session.run_named(
            f"INSERT INTO org.{quoted(sobject.name)} ({names}) SELECT {values} FROM made_up",  # noqa: S608  our own names
            {"now": _NOON.replace(tzinfo=None), "user": org.identity.user_id},
        )


def markers_of(external_ids: pl.Series) -> pl.Series:
    """The markers of records: partition and bucket, by the first byte of SHA-256, as docs/layout.md defines them."""
    firsts = [hashlib.sha256(each.encode()).digest()[0] for each in external_ids]
    return pl.Series(PARTITION_FIELD, [f"{MONTH}/{first:03d}" for first in firsts])


def _slices(rows: int) -> Iterator[tuple[int, Lines]]:
    for first in range(0, rows, _SLICE_ROWS):
        yield first, lines(first, min(_SLICE_ROWS, rows - first))


def write_partition(folder: str, org_id: str, rows: int) -> int:
    """The sealed extract and the load of the lines in a new ledger and staging root. Returns the rows."""
    ledger = open_ledger(sample_settings(Path(folder)).ledger_url.get_secret_value())
    environment = Environment(MADE_UP, org_id)
    workspace = Workspace(sample_settings(Path(folder)), ledger, "sample", "bench", environment=environment)
    try:
        context = PartitionContext(workspace, find_partition(TABLE.name, MONTH))
        run_stage(context, ORACLE_EXTRACT, lambda running: _extract(running, rows), mode="full")
        run_stage(context, SF_LOADED, lambda running: _load(running, rows))
    finally:
        workspace.close()
    return rows


def _extract(context: StageContext, rows: int) -> ExtractManifest:
    generation = context.ledger.generations.start(
        context.environment,
        context.partition,
        scn=1,
        mode="full",
        spec_hash="made up",
        run_id=context.run_id,
        lease=context.lease,
    )
    folder = make_private(context.paths.generation(generation).extract)
    totals: list[ControlTotals] = []
    chunks = tuple(_chunks(folder, rows, totals))
    environment = context.environment
    manifest = ExtractManifest(
        table=TABLE.name,
        key=MONTH,
        generation=generation,
        source_id=environment.source_id,
        target_id=environment.target_id,
        scn=1,
        mode="full",
        spec_hash="made up",
        rows=rows,
        control_totals=added_up(totals),
        chunks=chunks,
        started_utc=_NOON,
        sealed_utc=_NOON,
    )
    write_manifest(folder, manifest)
    return seal(context, manifest)


def _chunks(folder: Path, rows: int, totals: list[ControlTotals]) -> Iterator[FileEntry]:
    for number, start in enumerate(range(0, rows, _CHUNK_ROWS), 1):
        with ExtractParquet(folder / f"chunk-{number:05d}.parquet", arrow_schema(TABLE)) as file:
            for first in range(start, min(rows, start + _CHUNK_ROWS), _SLICE_ROWS):
                part = lines(first, min(_SLICE_ROWS, rows - first)).oracle
                frame = pl.DataFrame(part)
                totals.append(measure_rows(frame.lazy(), TABLE))
                for piece in part.to_batches(max_chunksize=_BATCH_ROWS):
                    file.write(piece)
            yield file.close()


def _load(context: StageContext, rows: int) -> LoadManifest:
    generation = context.ledger.generations.current(context.environment, context.partition)
    assert generation is not None  # noqa: S101  sealed just before
    manifest = LoadManifest(
        table=TABLE.name,
        key=MONTH,
        generation=generation.id,
        mapping_version=TABLE.mapping_version,
        attempt=1,
        staged=rows,
        loaded=rows,
        created=rows,
        failed=0,
        unprocessed=0,
        jobs=(),
        files=(),
        started_utc=_NOON,
        finished_utc=_NOON,
    )
    write_manifest(make_private(context.paths.generation(generation.id).loaded(TABLE.mapping_version)), manifest)
    return manifest


def reconcile(folder: str, org: Mapping[str, str]) -> dict[str, object]:
    """Compare the partition in full and publish the verdict; Great Expectations is not part of it.

    Returns the report as JSON, and under `differing` external id, kind and fields of every differing record.
    """
    workspace = open_sample(Path(folder), org)
    try:
        context = PartitionContext(workspace, find_partition(TABLE.name, MONTH))
        found: list[PartitionComparison] = []

        def make(running: StageContext) -> ReconciliationReport:
            found.append(compare_partition(running))
            return publish_report(running, found[0])

        report = run_stage(context, RECONCILED, make).made
        assert report is not None  # noqa: S101  no other run is at work
        records = found[0].records
        differing = records.differing if records else ()
        return report.model_dump(mode="json") | {
            "differing": [(one.external_id, one.kind, one.fields) for one in differing]
        }
    finally:
        workspace.close()
