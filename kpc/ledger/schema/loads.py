"""Attempts to load an extract, their chunks and ingest jobs, the rows that failed, and what is paused."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text, UniqueConstraint

from kpc.ledger.schema.columns import (
    JsonText,
    enum_word,
    environment_columns,
    id_column,
    metadata,
    moment,
    number,
    partition_columns,
    word,
)
from kpc.ledger.states import AttemptState, ChunkState, FailureClass, FailureState, JobPurpose, JobState, PauseScope

attempt = Table(  # one attempt to load a staged generation
    "attempt",
    metadata,
    Column("generation", String(26), primary_key=True),
    Column("mapping_version", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    *partition_columns(),
    word("run_id", 255),
    enum_word("state", AttemptState, 16),
    Column("error", Text, nullable=True),
    moment("started_utc"),
    moment("finished_utc", nullable=True),
    Index("ix_attempt_partition", "source_id", "target_id", "table_name", "partition_key"),
)

chunk = Table(
    "chunk",
    metadata,
    Column("generation", String(26), primary_key=True),
    Column("mapping_version", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    *partition_columns(),
    number("rows"),
    number("raw_bytes"),
    word("sha256"),
    enum_word("state", ChunkState, 16),
    number("loaded", nullable=True),
    number("created", nullable=True),
    number("failed", nullable=True),
    number("unprocessed", nullable=True),
    moment("planned_utc"),
    moment("finished_utc", nullable=True),
    Index("ix_chunk_partition", "source_id", "target_id", "table_name", "partition_key"),
)

job = Table(  # ingest jobs: the intent is written before the request, so that no job is unknown after a crash
    "job",
    metadata,
    id_column(),
    *partition_columns(),
    word("generation", 26),
    word("mapping_version"),
    word("chunk"),
    Column("attempt", Integer, nullable=False),
    enum_word("purpose", JobPurpose, 16),
    word("object_name", 128),
    word("operation", 16),
    word("external_id_field", 128, nullable=True),
    enum_word("state", JobState, 16),
    word("job_id", 18, nullable=True),
    word("encoding", 16, nullable=True),  # how the data was uploaded: gzip | identity
    number("rows"),
    number("batches"),
    number("processed", nullable=True),
    moment("intent_utc"),
    moment("touched_utc"),  # by its worker; a job that no worker follows takes no slot
    moment("closed_utc", nullable=True),
    moment("finished_utc", nullable=True),
    Column("error", Text, nullable=True),
    UniqueConstraint("target_id", "job_id", name="uq_job_job_id"),
    Index("ix_job_chunk", "generation", "mapping_version", "chunk"),
    Index("ix_job_state", "target_id", "state"),
    Index("ix_job_partition", "source_id", "target_id", "table_name", "partition_key"),
)

failed_records = Table(
    "migration_failed_records",
    metadata,
    id_column(),
    *partition_columns(),
    word("generation", 26),
    word("mapping_version"),
    word("chunk"),
    word("job_id", 18, nullable=True),
    word("external_id", 255),
    word("error_code", 128),
    enum_word("error_class", FailureClass, 16),
    Column("message", Text, nullable=False),
    Column("fields", JsonText, nullable=False),
    Column("attempts", Integer, nullable=False),
    enum_word("state", FailureState, 16),
    moment("first_utc"),
    moment("last_utc"),
    Index("ix_failed_records_partition", "source_id", "target_id", "table_name", "partition_key", "state"),
)

pause = Table(  # the kill switch: no new job is created in what is paused
    "pause",
    metadata,
    id_column(),
    *environment_columns(),
    enum_word("kind", PauseScope, 16),
    word("name"),  # of the phase or table; `all`
    word("actor", 255),
    Column("reason", Text, nullable=True),
    moment("paused_utc"),
    word("resumed_by", 255, nullable=True),
    moment("resumed_utc", nullable=True),
    Index("ix_pause_environment", "source_id", "target_id", "resumed_utc"),
)
