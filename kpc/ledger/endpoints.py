"""The last known identity of the live system at each address, and the staging root of each environment."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.partition import Environment

_ENDPOINT = schema.endpoint
_ROOT = "staging_root"  # a kind of row: its address is an environment, its identity a root's token


class Endpoints:
    """The last known identities of the live systems."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(self, kind: str, address: str, identity: str) -> None:
        """Record the identity of the `kind` (oracle, salesforce) of system at `address`."""
        where = {"kind": kind, "address": address}
        self._database.upsert(_ENDPOINT, where, {"identity": identity, "seen_utc": self._database.clock()})

    def identity_of(self, kind: str, address: str) -> str | None:
        """The identity last seen at an address, for use while the system does not answer."""
        query = select(_ENDPOINT.c.identity).where(_ENDPOINT.c.kind == kind, _ENDPOINT.c.address == address)
        with self._database.reading() as connection:
            found: str | None = connection.execute(query).scalar_one_or_none()
        return found

    def claim_root(self, environment: Environment, token: str) -> str:
        """Bind an environment to a staging root, unless it is bound already; returns the token of its root."""
        row = {"kind": _ROOT, "address": _address(environment), "identity": token, "seen_utc": self._database.clock()}
        with suppress(IntegrityError), self._database.writing() as connection:  # another worker was first
            connection.execute(insert(_ENDPOINT).values(row))
        return self.root_of(environment) or token

    def root_of(self, environment: Environment) -> str | None:
        """The token of the staging root that an environment uses; None before the first stage."""
        return self.identity_of(_ROOT, _address(environment))


def _address(environment: Environment) -> str:
    return f"{environment.source_id} {environment.target_id}"
