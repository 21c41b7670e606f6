"""What must stay the same during a whole campaign."""

from __future__ import annotations

from sqlalchemy import Column, PrimaryKeyConstraint, String, Table

from kpc.ledger.schema.columns import environment_columns, metadata, moment, word

campaign_constant = Table(  # pinned when first used; a secret as a fingerprint that does not reveal it
    "campaign_constant",
    metadata,
    *environment_columns(),
    Column("name", String(64), nullable=False),
    word("fingerprint", 255),
    word("actor", 255),
    word("run_id", 255),
    moment("pinned_utc"),
    PrimaryKeyConstraint("source_id", "target_id", "name"),
)
