"""What people were told of, each message to each channel, and failures that tasks reported."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, PrimaryKeyConstraint, Table, Text, text

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
from kpc.ledger.states import AlertEvent, AlertKind, DeliveryState

alert = Table(  # one row from the first sight of a condition until its end
    "alert",
    metadata,
    id_column(),
    *environment_columns(),
    enum_word("kind", AlertKind, 16),
    word("subject", 128),
    number("cases"),  # how many partitions, or 1
    Column("what", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("detail", JsonText, nullable=False),  # partitions, pages
    moment("since_utc"),
    moment("opened_utc"),
    moment("seen_utc"),
    moment("told_utc"),
    moment("closed_utc", nullable=True),
    Index("ix_alert_environment", "source_id", "target_id", "closed_utc"),
    Index(  # whoever looks second finds the first one's row
        "uq_alert_open",
        *("source_id", "target_id", "kind", "subject"),
        unique=True,
        sqlite_where=text("closed_utc IS NULL"),
        postgresql_where=text("closed_utc IS NULL"),
    ),
)

alert_message = Table(  # one row for each channel; sent by whoever claims it
    "alert_message",
    metadata,
    id_column(),
    Column("alert", Integer, nullable=False),
    enum_word("event", AlertEvent, 16),
    word("channel", 32),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("facts", JsonText, nullable=False),
    enum_word("state", DeliveryState, 16),
    Column("tries", Integer, nullable=False),
    moment("created_utc"),
    moment("next_try_utc"),
    word("claimed_by", 255, nullable=True),
    moment("sent_utc", nullable=True),
    Column("error", Text, nullable=True),  # of the last try
    Index("ix_alert_message_alert", "alert"),
    Index("ix_alert_message_state", "state", "next_try_utc"),
)

failure_report = Table(  # the newest failure of each stage of each partition that a task of Airflow reported
    "failure_report",
    metadata,
    *partition_columns(),
    word("stage", 32),
    word("cause"),  # the error's class
    Column("is_final", Boolean, nullable=False),  # Airflow will not try it again
    word("dag_id", 255),
    word("run_id", 255),
    moment("reported_utc"),
    PrimaryKeyConstraint("source_id", "target_id", "table_name", "partition_key", "stage"),
)
