"""Identities and facts of the live systems."""

from __future__ import annotations

from sqlalchemy import Column, String, Table

from kpc.ledger.schema.columns import metadata, moment, number, word

endpoint = Table(
    "endpoint",
    metadata,
    Column("kind", String(16), primary_key=True),  # oracle | salesforce | staging_root
    Column("address", String(500), primary_key=True),
    word("identity"),
    moment("seen_utc"),
)

source_database = Table(  # by what the database says of itself; `source_id` is its key in all other tables
    "source_database",
    metadata,
    Column("live_id", String(64), primary_key=True),
    Column("source_id", String(64), nullable=False, unique=True),  # another than `live_id` in a ledger from before
    number("incarnation"),  # RESETLOGS_CHANGE#
    moment("incarnation_utc", nullable=True),  # when it was adopted; null: it was the first
    moment("seen_utc"),
)

org_trait = Table(  # facts learned about an org, e.g. whether it accepts gzip uploads
    "org_trait",
    metadata,
    Column("target_id", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    word("value", 255),
    moment("learned_utc"),
)
