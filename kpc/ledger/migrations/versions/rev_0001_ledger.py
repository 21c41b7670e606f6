"""The initial schema of the ledger.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

GENESIS = "0" * 64


def upgrade() -> None:
    _identity()
    _stages()
    _loads()
    _proofs()
    _audit()
    if op.get_bind().dialect.name == "postgresql":
        _protect_on_postgresql()
    else:
        _protect_on_sqlite()


def _identity() -> None:
    """Create the tables of live systems, org facts, mappings and scope."""
    op.create_table(
        "endpoint",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("address", sa.String(500), nullable=False),
        sa.Column("identity", sa.String(64), nullable=False),
        sa.Column("seen_utc", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kind", "address"),
    )
    op.create_table(
        "org_trait",
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.String(255), nullable=False),
        sa.Column("learned_utc", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("target_id", "name"),
    )
    op.create_table(
        "mapping_version",
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("external_id_version", sa.String(64), nullable=False),
        sa.Column("declaration", sa.Text(), nullable=False),
        sa.Column("first_used_utc", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    op.create_table(
        "scope",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("source_id", sa.String(64), nullable=False),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("months", sa.Text(), nullable=False),
        sa.Column("tables", sa.Text(), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("sample_rows", sa.BigInteger(), nullable=True),
        sa.Column("unassigned", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(255), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("set_utc", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _stages() -> None:
    """Create the tables of generations, stage runs and leases."""
    op.create_table(
        "generation",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("source_id", sa.String(64), nullable=False),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("partition_key", sa.String(16), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("scn", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("spec_hash", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("raw_bytes", sa.BigInteger(), nullable=True),
        sa.Column("started_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_utc", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "source_id", "target_id", "table_name", "partition_key", "ordinal", name="uq_generation_ordinal"
        ),
    )
    op.create_table(
        "stage_run",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("source_id", sa.String(64), nullable=False),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("partition_key", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("generation", sa.String(26), nullable=True),
        sa.Column("mapping_version", sa.String(64), nullable=True),
        sa.Column("run_id", sa.String(255), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_utc", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_stage_run_partition", "stage_run", ["source_id", "target_id", "table_name", "partition_key", "stage", "id"]
    )
    op.create_table(
        "lease",
        sa.Column("source_id", sa.String(64), nullable=False),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("partition_key", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(255), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("acquired_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_utc", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "target_id", "table_name", "partition_key", "stage"),
    )


def _loads() -> None:
    """Create the tables of attempts, chunks, ingest jobs, quota and pauses."""
    op.create_table(
        "attempt",
        sa.Column("generation", sa.String(26), nullable=False),
        sa.Column("mapping_version", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("source_id", sa.String(64), nullable=False),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("partition_key", sa.String(16), nullable=False),
        sa.Column("run_id", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_utc", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("generation", "mapping_version", "number"),
    )
    op.create_index("ix_attempt_partition", "attempt", ["source_id", "target_id", "table_name", "partition_key"])
    op.create_table(
        "chunk",
        sa.Column("generation", sa.String(26), nullable=False),
        sa.Column("mapping_version", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("source_id", sa.String(64), nullable=False),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("partition_key", sa.String(16), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("raw_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("loaded", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=True),
        sa.Column("failed", sa.BigInteger(), nullable=True),
        sa.Column("unprocessed", sa.BigInteger(), nullable=True),
        sa.Column("planned_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_utc", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("generation", "mapping_version", "name"),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("source_id", sa.String(64), nullable=False),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("partition_key", sa.String(16), nullable=False),
        sa.Column("generation", sa.String(26), nullable=False),
        sa.Column("mapping_version", sa.String(64), nullable=False),
        sa.Column("chunk", sa.String(64), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("object_name", sa.String(128), nullable=False),
        sa.Column("operation", sa.String(16), nullable=False),
        sa.Column("external_id_field", sa.String(128), nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("job_id", sa.String(18), nullable=True),
        sa.Column("encoding", sa.String(16), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("batches", sa.BigInteger(), nullable=False),
        sa.Column("processed", sa.BigInteger(), nullable=True),
        sa.Column("intent_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("touched_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_utc", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_utc", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("target_id", "job_id", name="uq_job_job_id"),
    )
    op.create_index("ix_job_chunk", "job", ["generation", "mapping_version", "chunk"])
    op.create_index("ix_job_state", "job", ["target_id", "state"])
    op.create_table(
        "quota_entry",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("job", sa.Integer(), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("batches", sa.BigInteger(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("counted_utc", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_quota_entry_window", "quota_entry", ["target_id", "counted_utc"])
    op.create_table(
        "org_limits",
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("batches_max", sa.BigInteger(), nullable=False),
        sa.Column("batches_used", sa.BigInteger(), nullable=False),
        sa.Column("calls_max", sa.BigInteger(), nullable=False),
        sa.Column("calls_used", sa.BigInteger(), nullable=False),
        sa.Column("read_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("blocked_until_utc", sa.DateTime(timezone=True), nullable=True),
        sa.Column("blocked_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("target_id"),
    )
    op.create_table(
        "pause",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("source_id", sa.String(64), nullable=False),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("paused_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resumed_by", sa.String(255), nullable=True),
        sa.Column("resumed_utc", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_pause_environment", "pause", ["source_id", "target_id", "resumed_utc"])


def _proofs() -> None:
    """Create the tables of comparisons, failures and sign-offs."""
    op.create_table(
        "reconciliation",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("source_id", sa.String(64), nullable=False),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("partition_key", sa.String(16), nullable=False),
        sa.Column("generation", sa.String(26), nullable=False),
        sa.Column("stage_run", sa.Integer(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("measure", sa.String(128), nullable=False),
        sa.Column("source_value", sa.Text(), nullable=True),
        sa.Column("target_value", sa.Text(), nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("compared_utc", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_reconciliation_run", "reconciliation", ["stage_run"])
    op.create_table(
        "sign_off",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("source_id", sa.String(64), nullable=False),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(128), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("evidence_sha256", sa.String(64), nullable=True),
        sa.Column("signed_utc", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "migration_failed_records",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("source_id", sa.String(64), nullable=False),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("partition_key", sa.String(16), nullable=False),
        sa.Column("generation", sa.String(26), nullable=False),
        sa.Column("mapping_version", sa.String(64), nullable=False),
        sa.Column("chunk", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(18), nullable=True),
        sa.Column("external_id", sa.String(255), nullable=False),
        sa.Column("error_code", sa.String(128), nullable=False),
        sa.Column("error_class", sa.String(16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("first_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_utc", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_failed_records_partition",
        "migration_failed_records",
        ["source_id", "target_id", "table_name", "partition_key", "state"],
    )


def _audit() -> None:
    """Create the audit log and its head."""
    op.create_table(
        "migration_audit_log",
        sa.Column("seq", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("at_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("run_id", sa.String(255), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("source_id", sa.String(64), nullable=True),
        sa.Column("target_id", sa.String(64), nullable=True),
        sa.Column("table_name", sa.String(64), nullable=True),
        sa.Column("partition_key", sa.String(16), nullable=True),
        sa.Column("stage", sa.String(32), nullable=True),
        sa.Column("generation", sa.String(26), nullable=True),
        sa.Column("mapping_version", sa.String(64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.String(64), nullable=False),
        sa.Column("entry_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "migration_audit_head",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("entry_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    head = sa.table("migration_audit_head", sa.column("id"), sa.column("seq"), sa.column("entry_hash"))
    op.bulk_insert(head, [{"id": 1, "seq": 0, "entry_hash": GENESIS}])


def _protect_on_sqlite() -> None:
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER migration_audit_log_no_{verb.lower()} BEFORE {verb} ON migration_audit_log "
            "BEGIN SELECT RAISE(ABORT, 'migration_audit_log is append-only'); END"
        )
    op.execute(
        "CREATE TRIGGER migration_audit_head_no_delete BEFORE DELETE ON migration_audit_head "
        "BEGIN SELECT RAISE(ABORT, 'migration_audit_head is kept'); END"
    )


def _protect_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION migration_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    op.execute(
        "CREATE TRIGGER migration_audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON migration_audit_log "
        "FOR EACH STATEMENT EXECUTE FUNCTION migration_audit_refuse()"
    )
    op.execute(
        "CREATE TRIGGER migration_audit_head_kept BEFORE DELETE OR TRUNCATE ON migration_audit_head "
        "FOR EACH STATEMENT EXECUTE FUNCTION migration_audit_refuse()"
    )


def downgrade() -> None:
    """Not supported: no command may drop the audit log."""
    message = "the ledger's first revision cannot be undone"
    raise NotImplementedError(message)
