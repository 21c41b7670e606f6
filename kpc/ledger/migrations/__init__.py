"""Alembic's migrations of the ledger; `kpc.ledger.migrate` runs them."""
