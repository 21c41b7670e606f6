"""The audit log and its head."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table

from kpc.ledger.schema.columns import JsonText, metadata, moment, number, word

audit_log = Table(
    "migration_audit_log",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    moment("at_utc"),
    word("actor", 255),
    word("run_id", 255),
    word("action"),
    word("source_id", nullable=True),
    word("target_id", nullable=True),
    word("table_name", nullable=True),
    word("partition_key", 16, nullable=True),
    word("stage", 32, nullable=True),
    word("generation", 26, nullable=True),
    word("mapping_version", nullable=True),
    Column("detail", JsonText, nullable=False),
    word("prev_hash"),
    word("entry_hash"),
)

audit_head = Table(  # one row: the newest entry. Reveals a removed end, and is locked while entries are appended
    "migration_audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    number("seq"),
    word("entry_hash"),
)
