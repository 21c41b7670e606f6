"""Which SCNs partitions are read at, and what is known about Oracle since they were read."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table, UniqueConstraint

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

snapshot = Table(  # an SCN that the partitions of one family (headers, lines, payments of a month) share
    "snapshot",
    metadata,
    id_column(),
    *partition_columns(),  # the table is the family's first one in load order
    number("scn"),
    moment("taken_utc"),  # right before Oracle was asked for the SCN
    word("booked_by"),  # the table that was read first
    word("run_id", 255),
    moment("given_up_utc", nullable=True),  # its own reader could not read it
    UniqueConstraint("source_id", "target_id", "table_name", "partition_key", "scn", name="uq_snapshot_scn"),
)

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
