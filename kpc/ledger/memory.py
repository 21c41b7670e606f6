"""What the live systems told us about themselves: identities by address, and traits of an org."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy import Table, and_, insert, select, update
from sqlalchemy.exc import IntegrityError

from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.storage.store import Environment

_ROOT = "staging_root"


def _address(environment: Environment) -> str:
    return f"{environment.source_id} {environment.target_id}"


class Memory(Database):
    def remember_endpoint(self, kind: str, address: str, identity: str) -> None:
        """Note that the `kind` (oracle, salesforce) at `address` last called itself `identity`."""
        where = {"kind": kind, "address": address}
        self._upsert(schema.endpoint, where, {"identity": identity, "seen_utc": self.clock()})

    def identity_of(self, kind: str, address: str) -> str | None:
        """The identity last seen at an address, for those who may not ask the system itself."""
        table = schema.endpoint
        query = select(table.c.identity).where(table.c.kind == kind, table.c.address == address)
        with self.reading() as connection:
            found: str | None = connection.execute(query).scalar_one_or_none()
        return found

    def claim_root(self, environment: Environment, token: str) -> str:
        """Which staging root an environment works in: the token of the first one that claimed it, which is returned."""
        row = {"kind": _ROOT, "address": _address(environment), "identity": token, "seen_utc": self.clock()}
        with suppress(IntegrityError), self.writing() as connection:  # another worker may be first
            connection.execute(insert(schema.endpoint).values(row))
        return self.root_of(environment) or token

    def root_of(self, environment: Environment) -> str | None:
        """The token of the staging root that an environment works in; None before the first stage."""
        return self.identity_of(_ROOT, _address(environment))

    def remember_trait(self, target_id: str, name: str, value: str) -> None:
        """Keep what was learned about an org, e.g. `upload_encoding` = `identity`."""
        where = {"target_id": target_id, "name": name}
        self._upsert(schema.org_trait, where, {"value": value, "learned_utc": self.clock()})

    def trait_of(self, target_id: str, name: str) -> str | None:
        table = schema.org_trait
        query = select(table.c.value).where(table.c.target_id == target_id, table.c.name == name)
        with self.reading() as connection:
            found: str | None = connection.execute(query).scalar_one_or_none()
        return found

    def _upsert(self, table: Table, where: dict[str, str], values: dict[str, Any]) -> None:
        condition = and_(*(table.c[name] == value for name, value in where.items()))
        try:
            with self.writing() as connection:
                if connection.execute(update(table).where(condition).values(values)).rowcount == 0:
                    connection.execute(insert(table).values(**where, **values))
        except IntegrityError:  # another worker noted it first
            with self.writing() as connection:
                connection.execute(update(table).where(condition).values(values))
