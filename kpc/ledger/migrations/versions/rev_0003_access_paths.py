"""How the plan reads each table.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("scope", sa.Column("access", sa.Text(), nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("scope", "access")
