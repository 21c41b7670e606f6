"""What is migrated, how it was compared, and what people decided."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, Text

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
from kpc.ledger.states import CampaignState, SignOffDecision

mapping_version = Table(
    "mapping_version",
    metadata,
    Column("version", String(64), primary_key=True),
    word("table_name"),
    word("external_id_version"),
    Column("declaration", JsonText, nullable=False),
    moment("first_used_utc"),
)

scope = Table(
    "scope",
    metadata,
    id_column(),
    *environment_columns(),
    Column("months", JsonText, nullable=False),
    Column("tables", JsonText, nullable=False),
    word("mode", 16),
    number("sample_rows", nullable=True),
    Column("unassigned", JsonText, nullable=False),  # rows that belong to no partition, by table and cause
    Column("access", JsonText, nullable=False, server_default="{}"),  # how each table is read
    Column("rows", JsonText, nullable=True),  # counted rows, by table and key
    word("run_id", 255),
    word("actor", 255),
    moment("set_utc"),
)

campaign = Table(
    "campaign",
    metadata,
    id_column(),
    *environment_columns(),
    Column("months", JsonText, nullable=False),
    Column("tables", JsonText, nullable=False),
    word("mode", 16),
    Column("options", JsonText, nullable=False),
    enum_word("state", CampaignState, 16),
    Column("round", Integer, nullable=False),  # how often it was started or continued
    word("run_id", 255),  # the run that started the newest round
    word("actor", 255),
    moment("started_utc"),
    moment("continued_utc"),
    moment("ended_utc", nullable=True),
    word("ended_by", 255, nullable=True),
    Column("reason", Text, nullable=True),
    Column("result", JsonText, nullable=True),
    Index("ix_campaign_environment", "source_id", "target_id", "state"),
)

campaign_start = Table(  # the partitions whose first stage a campaign has started; one row per round
    "campaign_start",
    metadata,
    Column("campaign", Integer, primary_key=True, autoincrement=False),
    Column("table_name", String(64), primary_key=True),
    Column("partition_key", String(16), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    word("run_id", 255),  # of the DAG run, or of whoever runs the stage
    moment("started_utc"),
)

reconciliation = Table(
    "reconciliation",
    metadata,
    id_column(),
    *partition_columns(),
    word("generation", 26),
    Column("stage_run", Integer, nullable=False),
    Column("level", Integer, nullable=False),  # 1 | 2 | 3
    word("measure", 128),
    Column("source_value", Text, nullable=True),
    Column("target_value", Text, nullable=True),
    Column("passed", Boolean, nullable=False),
    Column("detail", JsonText, nullable=True),
    moment("compared_utc"),
    Index("ix_reconciliation_run", "stage_run"),
)

object_check = Table(  # all records of a table's object against what its partitions account for; the newest applies
    "object_check",
    metadata,
    id_column(),
    *environment_columns(),
    word("table_name"),
    number("records"),
    number("expected"),
    number("unknown"),
    Column("detail", JsonText, nullable=False),
    word("run_id", 255),
    word("actor", 255),
    moment("checked_utc"),
    Index("ix_object_check_table", "source_id", "target_id", "table_name", "id"),
)

sign_off = Table(
    "sign_off",
    metadata,
    id_column(),
    *environment_columns(),
    word("subject", 128),  # a phase, a table or `migration`
    word("actor", 255),
    enum_word("decision", SignOffDecision, 16),
    Column("note", Text, nullable=True),
    word("evidence_sha256", nullable=True),
    moment("signed_utc"),
    word("identified", 255, nullable=True),  # how the person was identified
    Column("is_authenticated", Boolean, nullable=True),  # by a system that asked for a password, such as Airflow
    Column("certificates", JsonText, nullable=True),  # sha256 of each certificate that it covers, by partition
    Column("revokes", Integer, nullable=True),  # the sign-off that this one takes back
)
