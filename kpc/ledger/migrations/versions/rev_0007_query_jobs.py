"""Bulk query jobs of the last 24 h.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "query_job",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("object", sa.String(80), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("raw_bytes", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.String(255), nullable=False),
        sa.Column("begun_utc", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_query_job_window", "query_job", ["target_id", "begun_utc"])


def downgrade() -> None:
    op.drop_table("query_job")
