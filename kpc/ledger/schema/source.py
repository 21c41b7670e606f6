"""What is known about Oracle since a partition was read."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table

from kpc.ledger.schema.columns import (
    JsonText,
    enum_word,
    id_column,
    metadata,
    moment,
    number,
    partition_columns,
    word,
)
from kpc.ledger.states import SourceCheckState

source_check = Table(  # what `kpc delta` found in one partition; the newest row of a partition applies
    "source_check",
    metadata,
    id_column(),
    *partition_columns(),
    enum_word("state", SourceCheckState, 16),
    word("generation", 26, nullable=True),  # the extract that was compared; None: there is none
    number("scn", nullable=True),  # of that extract
    number("final_scn"),
    Column("detail", JsonText, nullable=False),  # what moved: numbers then and now, as text
    word("run_id", 255),
    word("actor", 255),
    moment("checked_utc"),
    Index("ix_source_check_partition", "source_id", "target_id", "table_name", "partition_key", "id"),
)
