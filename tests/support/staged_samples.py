"""A partition as if it had been extracted and staged: real files, a real ledger, values that the catalog allows."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from faulty_transport import Fault, FaultyTransport
from pydantic import SecretStr

from kpc.catalog.table import Table
from kpc.catalog.types import ALL, EXTERNAL_ID, GENERATION_FIELD, PARTITION_FIELD, Column, FieldKind, NullRule
from kpc.convert.canonical import canonical_from_salesforce, key_hash, row_checksum
from kpc.convert.gzip_csv import GzipTable, csv_bytes
from kpc.ledger import Ledger, open_ledger
from kpc.load.record_bodies import upsert_rows
from kpc.partition import Environment, Partition
from kpc.private_files import make_private
from kpc.salesforce import Salesforce, connect
from kpc.settings import SalesforceSettings, Settings, StagingSettings
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace
from kpc.storage.layout import staged_folder
from kpc.storage.manifests import StagedManifest
from kpc.storage.store import describe_file

SOURCE = "ora-1-1"
FOREIGN = "01HW0000000000000000000000"  # a generation of somebody else's
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
_SAMPLES = {FieldKind.DATE: "2024-01-15", FieldKind.DATETIME: "2024-01-15T05:00:00.000Z", FieldKind.BOOLEAN: "true"}


class SampleWorkspace(Workspace):
    """A workspace that knows its Oracle by name only; everything else is real."""

    transport = FaultyTransport()

    def plant(self, *faults: Fault) -> FaultyTransport:
        """Let these faults, and no others, happen to the requests from now on, and count them anew."""
        self.transport.faults[:] = faults
        self.transport.requests.clear()
        return self.transport


def make_workspace(
    root: Path,
    salesforce: SalesforceSettings,
    run_id: str,
    *,
    lease_s: float = 30.0,
    ledger_url: str = "",
    staging_root: str = "",
) -> SampleWorkspace:
    """A workspace with a ledger and a log-in of its own, whose requests can be made to fail.

    One with an object store as `staging_root` has a disk of its own.
    """
    ledger = open_ledger(ledger_url or f"sqlite:///{root}/ledger.db")
    transport = FaultyTransport()
    client = connect(salesforce, transport)
    made = join_workspace(root, salesforce, ledger, client, run_id, lease_s=lease_s, staging_root=staging_root)
    made.transport = transport
    return made


def join_workspace(
    root: Path,
    salesforce: SalesforceSettings,
    ledger: Ledger,
    client: Salesforce,
    run_id: str,
    *,
    lease_s: float = 30.0,
    staging_root: str = "",
) -> SampleWorkspace:
    """The same from a ledger and a log-in that are there already."""
    settings = Settings(
        salesforce=salesforce.model_copy(),
        staging=StagingSettings(
            root=staging_root or str(root / "staging"), scratch=root / f"disk-{run_id}", free_bytes=0
        ),
        ledger_url=SecretStr(ledger.database.engine.url.render_as_string(hide_password=False)),
        lease_s=lease_s,
        lease_wait_s=20.0,
    )
    environment = Environment(SOURCE, client.org_id)
    return SampleWorkspace(settings, ledger, run_id, "tester", salesforce=client, environment=environment)


def fresh_keys(count: int, prefix: str = "") -> list[str]:
    """External ids that no other test has, in order."""
    prefix = prefix or uuid.uuid4().hex[:8]
    return [f"{prefix}-{number:04d}" for number in range(count)]


def put_foreign(workspace: Workspace, partition: Partition, keys: Sequence[str], **cells: str) -> None:
    """Records that somebody else made, with the mark of no generation of ours."""
    rows = [sample_row(partition.table, "old", FOREIGN, key) | cells for key in keys]
    assert [saved.error for saved in upsert_rows(workspace.salesforce, partition.table, rows)] == [""] * len(keys)


def close(workspace: Workspace) -> None:
    workspace.close()


def stage(
    workspace: Workspace,
    partition: Partition,
    keys: Sequence[str],
    *,
    chunk_rows: int = 1_000_000,
    values: Mapping[str, dict[str, str]] | None = None,
) -> StagedManifest:
    """Seal a new generation and stage one row per key; `values` overrides cells by key and CSV column."""
    ledger, table = workspace.ledger, partition.table
    with ledger.leases.hold(workspace.environment, partition, "oracle_extract", owner="s", ttl_s=30, wait_s=5) as lease:
        generation = ledger.generations.start(
            workspace.environment, partition, scn=1, mode="full", spec_hash="s", run_id="s", lease=lease
        )
        ledger.generations.seal(generation, rows=len(keys), raw_bytes=1, lease=lease)
    folder = PartitionContext(workspace, partition).paths.generation(generation).folder
    folder = make_private(folder / staged_folder(table.mapping_version))
    rows = pl.DataFrame(
        [sample_row(table, partition.key, generation, key) | (values or {}).get(key, {}) for key in keys],
        schema=dict.fromkeys(table.header, pl.String),
    )
    cells = rows.with_columns(pl.all().replace({"#N/A": None, "": None}))
    checksums = canonical_from_salesforce(cells, table).select(row_checksum(table)).collect()
    rows = pl.concat([rows.with_columns(key_hash()), checksums], how="horizontal")
    chunks = []
    for number, part in enumerate(rows.iter_slices(chunk_rows), start=1):
        with GzipTable(folder / f"chunk-{number:05d}.csv.gz", table.header, 1) as file:
            file.write(csv_bytes(part.select(table.header), null="#N/A"), part.height)
            chunks.append(file.close())
    rows.select(pl.col(EXTERNAL_ID).alias("external_id"), "key_hash", "checksum").write_parquet(
        folder / "index.parquet"
    )
    rows.select("key_hash").write_parquet(folder / "fingerprint.parquet")
    manifest = StagedManifest(
        table=table.name,
        key=partition.key,
        generation=generation,
        mapping_version=table.mapping_version,
        extracted=len(keys),
        staged=len(keys),
        unchanged=0,
        rejected=0,
        truncated=0,
        header=table.header,
        chunks=tuple(chunks) if keys else (),
        rejected_file=None,
        index_file=describe_file(folder / "index.parquet", rows=len(keys)),
        fingerprint_file=describe_file(folder / "fingerprint.parquet", rows=len(keys)),
        started_utc=NOON,
        finished_utc=NOON,
    )
    workspace.store.publish(folder, manifest, manifest.files)
    return manifest


def sample_row(table: Table, partition_key: str, generation: str, key: str) -> dict[str, str]:
    """The CSV cells of one row."""
    row = {column.field or "": sample_cell(column, key) for column in table.sent_columns}
    row |= {lookup.header: "" for lookup in table.lookups}
    return row | {EXTERNAL_ID: key, PARTITION_FIELD: sample_marker(partition_key, key), GENERATION_FIELD: generation}


def sample_marker(partition_key: str, external_id: str) -> str:
    """The marker of a record: its partition, and as bucket the first byte of SHA-256 over its external id."""
    bucket = 0 if partition_key == ALL else hashlib.sha256(external_id.encode()).digest()[0]
    return f"{partition_key}/{bucket:03d}"


def sample_cell(column: Column, key: str) -> str:
    """A CSV cell that the column's field accepts."""
    kind = column.type
    assert kind is not None
    if column.null is NullRule.DEFAULT:
        return column.default or ""
    if column.null is NullRule.KEEP:
        return "#N/A"
    if kind.is_number:
        return "0"
    return _SAMPLES.get(kind.kind, key[: kind.length])
