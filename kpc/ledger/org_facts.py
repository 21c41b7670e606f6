"""Facts learned about an org at run time, e.g. whether it accepts gzip uploads."""

from __future__ import annotations

from sqlalchemy import select

from kpc.ledger import schema
from kpc.ledger.database import Database

_ORG_TRAIT = schema.org_trait


class OrgFacts:
    """The latest value of each fact, by org and name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(self, target_id: str, name: str, value: str) -> None:
        """Record a fact about an org, e.g. `upload_encoding` = `identity`."""
        where = {"target_id": target_id, "name": name}
        self._database.upsert(_ORG_TRAIT, where, {"value": value, "learned_utc": self._database.clock()})

    def find(self, target_id: str, name: str) -> str | None:
        """The value of a fact; None if it is unknown."""
        query = select(_ORG_TRAIT.c.value).where(_ORG_TRAIT.c.target_id == target_id, _ORG_TRAIT.c.name == name)
        with self._database.reading() as connection:
            found: str | None = connection.execute(query).scalar_one_or_none()
        return found
