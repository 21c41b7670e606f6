"""What Oracle changed since a partition was read.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "source_check",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("source_id", sa.String(64), nullable=False),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("partition_key", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("generation", sa.String(26), nullable=True),
        sa.Column("scn", sa.BigInteger(), nullable=True),
        sa.Column("final_scn", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(255), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("checked_utc", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index(
        "ix_source_check_partition", "source_check", ["source_id", "target_id", "table_name", "partition_key", "id"]
    )


def downgrade() -> None:
    op.drop_table("source_check")
