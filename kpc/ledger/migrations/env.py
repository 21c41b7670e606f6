"""Alembic's environment. The connection comes from `kpc.ledger.migrate`, inside its transaction and under its lock."""

from __future__ import annotations

from alembic import context

from kpc.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
