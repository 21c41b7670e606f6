"""Facts learned about an org at run time, e.g. whether it accepts gzip uploads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select

from kpc.ledger import schema
from kpc.ledger.database import Database

_ORG_TRAIT = schema.org_trait


@dataclass(frozen=True, slots=True)
class OrgFact:
    """One fact, e.g. `upload_encoding` = `identity`."""

    name: str
    value: str
    learned_utc: datetime


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

    def of_org(self, target_id: str) -> list[OrgFact]:
        """Every fact about an org, by name."""
        columns = (_ORG_TRAIT.c.name, _ORG_TRAIT.c.value, _ORG_TRAIT.c.learned_utc)
        query = select(*columns).where(_ORG_TRAIT.c.target_id == target_id).order_by(_ORG_TRAIT.c.name)
        with self._database.reading() as connection:
            return [OrgFact(**row) for row in connection.execute(query).mappings()]

    def forget(self, target_id: str, name: str) -> bool:
        """Remove a fact, so that it is learned anew. False if it was unknown."""
        which = delete(_ORG_TRAIT).where(_ORG_TRAIT.c.target_id == target_id, _ORG_TRAIT.c.name == name)
        with self._database.writing() as connection:
            return connection.execute(which).rowcount > 0
