"""The use of the org's daily quota."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text

from kpc.ledger.schema.columns import enum_word, id_column, metadata, moment, number, word
from kpc.ledger.states import QuotaEntryState, QuotaKind

quota_entry = Table(
    "quota_entry",
    metadata,
    id_column(),
    word("target_id"),
    enum_word("kind", QuotaKind, 16),
    Column("job", Integer, nullable=True),
    number("rows"),
    number("batches"),
    number("calls"),
    enum_word("state", QuotaEntryState, 16),
    moment("counted_utc"),
    Index("ix_quota_entry_window", "target_id", "counted_utc"),
)

query_job = Table(  # a bulk query: the org allows a number of them, and of bytes of their results, in 24 h
    "query_job",
    metadata,
    id_column(),
    word("target_id"),
    word("object", 80),
    number("rows"),
    number("raw_bytes"),
    word("run_id", 255),
    moment("begun_utc"),
    Index("ix_query_job_window", "target_id", "begun_utc"),
)

org_limits = Table(  # the org's last `/limits`, and any block after it refused a request
    "org_limits",
    metadata,
    Column("target_id", String(64), primary_key=True),
    number("batches_max"),
    number("batches_used"),
    number("calls_max"),
    number("calls_used"),
    moment("read_utc"),
    moment("blocked_until_utc", nullable=True),
    Column("blocked_reason", Text, nullable=True),
)
