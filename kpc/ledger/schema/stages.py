"""Extracts, stage runs and their leases."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text, UniqueConstraint

from kpc.ledger.schema.columns import JsonText, enum_word, id_column, metadata, moment, number, partition_columns, word
from kpc.ledger.states import GenerationState, StageState

generation = Table(
    "generation",
    metadata,
    Column("id", String(26), primary_key=True),  # ULID
    *partition_columns(),
    Column("ordinal", Integer, nullable=False),  # 1, 2, ... within the partition: tells which one is newer
    number("scn"),
    word("mode", 16),
    word("spec_hash"),
    word("run_id", 255),
    enum_word("state", GenerationState, 16),
    number("rows", nullable=True),
    number("raw_bytes", nullable=True),
    moment("started_utc"),
    moment("ended_utc", nullable=True),
    Column("reason", Text, nullable=True),
    UniqueConstraint("source_id", "target_id", "table_name", "partition_key", "ordinal", name="uq_generation_ordinal"),
)

stage_run = Table(
    "stage_run",
    metadata,
    id_column(),
    *partition_columns(),
    word("stage", 32),
    word("generation", 26, nullable=True),
    word("mapping_version", nullable=True),
    word("run_id", 255),
    word("actor", 255),
    word("mode", 16),
    enum_word("state", StageState, 32),
    number("rows", nullable=True),
    number("bytes", nullable=True),
    Column("detail", JsonText, nullable=True),
    Column("error", Text, nullable=True),
    moment("started_utc"),
    moment("finished_utc", nullable=True),
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
    word("owner", 255, nullable=True),  # None: free. The row is kept, so that tokens keep increasing
    number("token"),
    moment("acquired_utc"),
    moment("expires_utc"),
)
