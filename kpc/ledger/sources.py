"""The source databases: under which key the ledger and the staging root know each, and which incarnation is read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, update

from kpc.errors import ConfigError
from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.states import GenerationState

_SOURCE = schema.source_database
_ENDPOINT = schema.endpoint
_GENERATION = schema.generation


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One database. `incarnation_utc` is when its incarnation was adopted; None if it was the first."""

    live_id: str
    source_id: str
    incarnation: int
    incarnation_utc: datetime | None
    seen_utc: datetime


class Sources:
    """The databases that this ledger has met, by what they say of themselves."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[SourceRow]:
        with self._database.reading() as connection:
            rows = connection.execute(select(_SOURCE).order_by(_SOURCE.c.live_id)).mappings()
            return [SourceRow(**row) for row in rows]

    def find(self, live_id: str) -> SourceRow | None:
        """The database that says so of itself; None before its first contact."""
        return next((row for row in self.all() if row.live_id == live_id), None)

    def of_key(self, source_id: str) -> SourceRow | None:
        """The database with this key in the ledger."""
        return next((row for row in self.all() if row.source_id == source_id), None)

    def claim(self, live_id: str, source_id: str, incarnation: int) -> SourceRow:
        """Book a database at its first contact; of several workers, the first wins.

        Raises `ConfigError` if another database has the key already.
        """
        row = {
            "live_id": live_id,
            "source_id": source_id,
            "incarnation": incarnation,
            "seen_utc": self._database.clock(),
        }
        with self._database.writing() as connection:
            self._database.one_at_a_time(connection, "source database")
            taken = (_SOURCE.c.live_id == live_id) | (_SOURCE.c.source_id == source_id)
            if connection.execute(select(_SOURCE.c.live_id).where(taken)).first() is None:
                connection.execute(insert(_SOURCE).values(row))
        found = self.find(live_id)
        if found is None:
            raise ConfigError(
                f"The identity {source_id} belongs to another database of this ledger.",
                "`kpc source show` lists them.",
            )
        return found

    def adopt_incarnation(self, live_id: str, incarnation: int) -> int:
        """Read another incarnation from now on; the open extracts of the former one are abandoned, and counted."""
        now = self._database.clock()
        with self._database.writing() as connection:
            connection.execute(
                update(_SOURCE)
                .where(_SOURCE.c.live_id == live_id)
                .values(incarnation=incarnation, incarnation_utc=now, seen_utc=now)
            )
            key = select(_SOURCE.c.source_id).where(_SOURCE.c.live_id == live_id).scalar_subquery()
            abandoned = connection.execute(
                update(_GENERATION)
                .where(_GENERATION.c.source_id == key, _GENERATION.c.state == GenerationState.OPEN)
                .values(
                    state=GenerationState.ABANDONED,
                    reason="another incarnation of the database was adopted",
                    ended_utc=now,
                )
            )
        return abandoned.rowcount

    def former_keys(self, prefix: str) -> list[str]:
        """The keys with this prefix that an earlier version used and no database has claimed, oldest first."""
        pattern = prefix.replace("_", r"\_") + "%"
        seen = select(_ENDPOINT.c.identity.label("key"), _ENDPOINT.c.seen_utc.label("at")).where(
            _ENDPOINT.c.kind == "oracle", _ENDPOINT.c.identity.like(pattern, escape="\\")
        )
        read = select(_GENERATION.c.source_id.label("key"), _GENERATION.c.started_utc.label("at")).where(
            _GENERATION.c.source_id.like(pattern, escape="\\")
        )
        claimed = {row.source_id for row in self.all()}
        newest: dict[str, datetime] = {}
        with self._database.reading() as connection:
            for query in (seen, read):
                for key, at in connection.execute(query):
                    newest[key] = max(at, newest.get(key, at))
        return sorted(newest.keys() - claimed, key=lambda key: newest[key])
