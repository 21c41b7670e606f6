"""Sign-offs that name their certificates and their signer; rows of a partition found fast enough to vouch for them.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_PARTITION = ["source_id", "target_id", "table_name", "partition_key"]


def upgrade() -> None:
    op.add_column("sign_off", sa.Column("identified", sa.String(255), nullable=True))
    op.add_column("sign_off", sa.Column("is_authenticated", sa.Boolean(), nullable=True))
    op.add_column("sign_off", sa.Column("certificates", sa.Text(), nullable=True))
    op.add_column("sign_off", sa.Column("revokes", sa.Integer(), nullable=True))
    op.create_index("ix_chunk_partition", "chunk", _PARTITION)
    op.create_index("ix_job_partition", "job", _PARTITION)


def downgrade() -> None:
    op.drop_index("ix_job_partition", table_name="job")
    op.drop_index("ix_chunk_partition", table_name="chunk")
    for column in ("revokes", "certificates", "is_authenticated", "identified"):
        op.drop_column("sign_off", column)
