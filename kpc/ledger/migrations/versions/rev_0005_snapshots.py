"""SCNs that parents and children of one partition key share.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "snapshot",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("source_id", sa.String(64), nullable=False),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("partition_key", sa.String(16), nullable=False),
        sa.Column("scn", sa.BigInteger(), nullable=False),
        sa.Column("taken_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("booked_by", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(255), nullable=False),
        sa.Column("given_up_utc", sa.DateTime(timezone=True), nullable=True),
        sa.UniqueConstraint("source_id", "target_id", "table_name", "partition_key", "scn", name="uq_snapshot_scn"),
    )


def downgrade() -> None:
    op.drop_table("snapshot")
