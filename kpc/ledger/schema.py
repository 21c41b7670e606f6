"""The ledger's tables. Times are UTC; documents are canonical JSON text, so that what was hashed can be hashed again.

Rows that belong to a partition begin with the two live systems' identities (`source_id`, `target_id`): a ledger filled
from a sandbox can never tell production that something is already loaded.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

REVISION = "0001"  # the newest migration; a test compares it with kpc/ledger/migrations


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC moment, in databases with and without time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            message = f"a ledger time must be aware, got {value!r}"
            raise ValueError(message)
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if dialect.name == "postgresql" else value.replace(tzinfo=UTC)


def canonical_json(value: object) -> str:
    """One spelling for one value: keys sorted, no spaces, text as it is; what JSON lacks becomes its `str`."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


class JsonText(TypeDecorator[Any]):
    """A JSON document as canonical text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        del dialect
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        del dialect
        return None if value is None else json.loads(value)


metadata = MetaData()


def _environment() -> tuple[Column[Any], ...]:
    return (Column("source_id", String(64), nullable=False), Column("target_id", String(64), nullable=False))


def _partition() -> tuple[Column[Any], ...]:
    return (
        *_environment(),
        Column("table_name", String(64), nullable=False),
        Column("partition_key", String(16), nullable=False),
    )


def _number(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, BigInteger, nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, UtcDateTime, nullable=nullable)


def _word(name: str, length: int = 64, *, nullable: bool = False) -> Column[Any]:
    return Column(name, String(length), nullable=nullable)


def _id() -> Column[Any]:
    return Column("id", Integer, primary_key=True, autoincrement=True)


endpoint = Table(
    "endpoint",
    metadata,
    Column("kind", String(16), primary_key=True),  # oracle | salesforce
    Column("address", String(500), primary_key=True),
    _word("identity"),
    _time("seen_utc"),
)

org_trait = Table(  # what an org taught us, e.g. whether it takes gzip uploads
    "org_trait",
    metadata,
    Column("target_id", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    _word("value", 255),
    _time("learned_utc"),
)

generation = Table(
    "generation",
    metadata,
    Column("id", String(26), primary_key=True),  # ULID
    *_partition(),
    Column("ordinal", Integer, nullable=False),  # 1, 2, ... within the partition: which one is newer
    _number("scn"),
    _word("mode", 16),
    _word("spec_hash"),
    _word("run_id", 255),
    _word("state", 16),  # open | sealed | abandoned | rolled_back
    _number("rows", nullable=True),
    _number("raw_bytes", nullable=True),
    _time("started_utc"),
    _time("ended_utc", nullable=True),
    Column("reason", Text, nullable=True),
    UniqueConstraint("source_id", "target_id", "table_name", "partition_key", "ordinal", name="uq_generation_ordinal"),
)

stage_run = Table(
    "stage_run",
    metadata,
    _id(),
    *_partition(),
    _word("stage", 32),
    _word("generation", 26, nullable=True),
    _word("mapping_version", nullable=True),
    _word("run_id", 255),
    _word("actor", 255),
    _word("mode", 16),
    # running | done | failed | waiting | rolled_back | reconciled | reconciled_with_exceptions | mismatch
    _word("state", 32),
    _number("rows", nullable=True),
    _number("bytes", nullable=True),
    Column("detail", JsonText, nullable=True),
    Column("error", Text, nullable=True),
    _time("started_utc"),
    _time("finished_utc", nullable=True),
    Index("ix_stage_run_partition", "source_id", "target_id", "table_name", "partition_key", "stage", "id"),
)

lease = Table(
    "lease",
    metadata,
    Column("source_id", String(64), primary_key=True),
    Column("target_id", String(64), primary_key=True),
    Column("table_name", String(64), primary_key=True),
    Column("partition_key", String(16), primary_key=True),
    Column("stage", String(32), primary_key=True),
    _word("owner", 255, nullable=True),  # None: free; the row stays, so that tokens keep increasing
    _number("token"),
    _time("acquired_utc"),
    _time("expires_utc"),
)

attempt = Table(  # one try to load a staged generation
    "attempt",
    metadata,
    Column("generation", String(26), primary_key=True),
    Column("mapping_version", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    *_partition(),
    _word("run_id", 255),
    _word("state", 16),  # running | loaded | failed
    Column("error", Text, nullable=True),
    _time("started_utc"),
    _time("finished_utc", nullable=True),
    Index("ix_attempt_partition", "source_id", "target_id", "table_name", "partition_key"),
)

chunk = Table(
    "chunk",
    metadata,
    Column("generation", String(26), primary_key=True),
    Column("mapping_version", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    *_partition(),
    _number("rows"),
    _number("raw_bytes"),
    _word("sha256"),
    _word("state", 16),  # planned | done
    _number("loaded", nullable=True),
    _number("created", nullable=True),
    _number("failed", nullable=True),
    _number("unprocessed", nullable=True),
    _time("planned_utc"),
    _time("finished_utc", nullable=True),
)

job = Table(  # an ingest job: the intent comes before the request, so a crash never leaves an unknown one
    "job",
    metadata,
    _id(),
    *_partition(),
    _word("generation", 26),
    _word("mapping_version"),
    _word("chunk"),
    Column("attempt", Integer, nullable=False),
    _word("purpose", 16),  # chunk | retry | undo
    _word("object_name", 128),
    _word("operation", 16),
    _word("external_id_field", 128, nullable=True),
    _word("state", 16),  # see kpc.ledger.jobs
    _word("job_id", 18, nullable=True),
    _word("encoding", 16, nullable=True),  # how the data was uploaded: gzip | identity
    _number("rows"),
    _number("batches"),
    _number("processed", nullable=True),
    _time("intent_utc"),
    _time("touched_utc"),  # by its worker; a job nobody follows takes no slot
    _time("closed_utc", nullable=True),
    _time("finished_utc", nullable=True),
    Column("error", Text, nullable=True),
    UniqueConstraint("target_id", "job_id", name="uq_job_job_id"),
    Index("ix_job_chunk", "generation", "mapping_version", "chunk"),
    Index("ix_job_state", "target_id", "state"),
)

quota_entry = Table(
    "quota_entry",
    metadata,
    _id(),
    _word("target_id"),
    _word("kind", 16),  # job (ours) | others (bulk work of other software) | calls (API calls of everybody)
    Column("job", Integer, nullable=True),
    _number("rows"),
    _number("batches"),
    _number("calls"),
    _word("state", 16),  # reserved | debited | released
    _time("counted_utc"),
    Index("ix_quota_entry_window", "target_id", "counted_utc"),
)

org_limits = Table(  # what the org said last of its allowances, and whether it refused us since
    "org_limits",
    metadata,
    Column("target_id", String(64), primary_key=True),
    _number("batches_max"),
    _number("batches_used"),
    _number("calls_max"),
    _number("calls_used"),
    _time("read_utc"),
    _time("blocked_until_utc", nullable=True),
    Column("blocked_reason", Text, nullable=True),
)

pause = Table(  # the kill switch: no new job is created in what is paused
    "pause",
    metadata,
    _id(),
    *_environment(),
    _word("kind", 16),  # all | phase | table
    _word("name"),  # of the phase or table; `all`
    _word("actor", 255),
    Column("reason", Text, nullable=True),
    _time("paused_utc"),
    _word("resumed_by", 255, nullable=True),
    _time("resumed_utc", nullable=True),
    Index("ix_pause_environment", "source_id", "target_id", "resumed_utc"),
)

mapping_version = Table(
    "mapping_version",
    metadata,
    Column("version", String(64), primary_key=True),
    _word("table_name"),
    _word("external_id_version"),
    Column("declaration", JsonText, nullable=False),
    _time("first_used_utc"),
)

scope = Table(
    "scope",
    metadata,
    _id(),
    *_environment(),
    Column("months", JsonText, nullable=False),
    Column("tables", JsonText, nullable=False),
    _word("mode", 16),
    _number("sample_rows", nullable=True),
    Column("unassigned", JsonText, nullable=False),  # rows that belong to no partition, by table and cause
    _word("run_id", 255),
    _word("actor", 255),
    _time("set_utc"),
)

reconciliation = Table(
    "reconciliation",
    metadata,
    _id(),
    *_partition(),
    _word("generation", 26),
    Column("stage_run", Integer, nullable=False),
    Column("level", Integer, nullable=False),  # 1 | 2 | 3
    _word("measure", 128),
    Column("source_value", Text, nullable=True),
    Column("target_value", Text, nullable=True),
    Column("passed", Boolean, nullable=False),
    Column("detail", JsonText, nullable=True),
    _time("compared_utc"),
    Index("ix_reconciliation_run", "stage_run"),
)

sign_off = Table(
    "sign_off",
    metadata,
    _id(),
    *_environment(),
    _word("subject", 128),  # a phase, a table or `migration`
    _word("actor", 255),
    _word("decision", 16),  # accepted | refused
    Column("note", Text, nullable=True),
    _word("evidence_sha256", nullable=True),
    _time("signed_utc"),
)

failed_records = Table(
    "migration_failed_records",
    metadata,
    _id(),
    *_partition(),
    _word("generation", 26),
    _word("mapping_version"),
    _word("chunk"),
    _word("job_id", 18, nullable=True),
    _word("external_id", 255),
    _word("error_code", 128),
    _word("error_class", 16),  # transient | dependency | data | org | unprocessed
    Column("message", Text, nullable=False),
    Column("fields", JsonText, nullable=False),
    Column("attempts", Integer, nullable=False),
    _word("state", 16),  # open | resolved
    _time("first_utc"),
    _time("last_utc"),
    Index("ix_failed_records_partition", "source_id", "target_id", "table_name", "partition_key", "state"),
)

audit_log = Table(
    "migration_audit_log",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    _time("at_utc"),
    _word("actor", 255),
    _word("run_id", 255),
    _word("action"),
    _word("source_id", nullable=True),
    _word("target_id", nullable=True),
    _word("table_name", nullable=True),
    _word("partition_key", 16, nullable=True),
    _word("stage", 32, nullable=True),
    _word("generation", 26, nullable=True),
    _word("mapping_version", nullable=True),
    Column("detail", JsonText, nullable=False),
    _word("prev_hash"),
    _word("entry_hash"),
)

audit_head = Table(  # one row: the newest entry. Shows a removed tail, and is the lock under which entries are appended
    "migration_audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _number("seq"),
    _word("entry_hash"),
)
