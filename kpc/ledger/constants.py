"""The constants of a campaign: pinned when they are first used, so that every later run can be compared with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, update

from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.partition_filters import in_environment
from kpc.partition import Environment

_CONSTANT = schema.campaign_constant


@dataclass(frozen=True, slots=True)
class PinnedConstant:
    """One constant; `fingerprint` is its value, or for a secret what proves a value without revealing it."""

    name: str
    fingerprint: str
    actor: str
    run_id: str
    pinned_utc: datetime


class Constants:
    """The pinned constants of each environment, by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pin(self, environment: Environment, name: str, fingerprint: str, *, actor: str, run_id: str) -> PinnedConstant:
        """Pin a constant unless it is pinned already; returns what is pinned. Of several workers, the first wins."""
        row = {"source_id": environment.source_id, "target_id": environment.target_id, "name": name}
        with self._database.writing() as connection:
            self._database.one_at_a_time(connection, f"constant {environment} {name}")
            mine = in_environment(_CONSTANT, environment) & (_CONSTANT.c.name == name)
            if connection.execute(select(_CONSTANT.c.name).where(mine)).one_or_none() is None:
                connection.execute(insert(_CONSTANT).values(**row, **self._facts(fingerprint, actor, run_id)))
        pinned = self.find(environment, name)
        assert pinned is not None  # noqa: S101  no command removes one
        return pinned

    def replace(self, environment: Environment, name: str, fingerprint: str, *, actor: str, run_id: str) -> None:
        """Pin another value deliberately; the caller writes the audit entry."""
        with self._database.writing() as connection:
            connection.execute(
                update(_CONSTANT)
                .where(in_environment(_CONSTANT, environment), _CONSTANT.c.name == name)
                .values(**self._facts(fingerprint, actor, run_id))
            )

    def find(self, environment: Environment, name: str) -> PinnedConstant | None:
        """The pinned constant of this name; None before its first use."""
        return next((each for each in self.all(environment) if each.name == name), None)

    def all(self, environment: Environment) -> list[PinnedConstant]:
        """The pinned constants, by name."""
        columns = (getattr(_CONSTANT.c, field) for field in PinnedConstant.__slots__)
        query = select(*columns).where(in_environment(_CONSTANT, environment)).order_by(_CONSTANT.c.name)
        with self._database.reading() as connection:
            return [PinnedConstant(**row) for row in connection.execute(query).mappings()]

    def _facts(self, fingerprint: str, actor: str, run_id: str) -> dict[str, object]:
        return {"fingerprint": fingerprint, "actor": actor, "run_id": run_id, "pinned_utc": self._database.clock()}
