"""The kill switch: while something is paused no new ingest job is created in it; what runs is followed to its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, update

from kpc.catalog import Table
from kpc.errors import Paused
from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.places import here
from kpc.storage.store import Environment

ALL, PHASE, TABLE = "all", "phase", "table"

_TABLE = schema.pause
_COLUMNS = (_TABLE.c.kind, _TABLE.c.name, _TABLE.c.actor, _TABLE.c.reason, _TABLE.c.paused_utc)


@dataclass(frozen=True, slots=True)
class Pause:
    """What is paused: `kind` all, phase or table, and its `name`; who did it, why and when."""

    kind: str
    name: str
    actor: str
    reason: str | None
    paused_utc: datetime

    def __str__(self) -> str:
        what = "everything" if self.kind == ALL else f"{self.kind} {self.name}"
        why = f" ({self.reason})" if self.reason else ""
        return f"{what}, by {self.actor} since {self.paused_utc:%Y-%m-%d %H:%M} UTC{why}"


class Pauses(Database):
    def pause(self, environment: Environment, kind: str, name: str, *, actor: str, reason: str | None = None) -> bool:
        """Stop new jobs; False if exactly this was paused already."""
        with self.writing() as connection:
            self.one_at_a_time(connection, f"jobs of {environment.target_id}")
            if connection.execute(select(_TABLE.c.id).where(_active(environment), _is(kind, name))).first():
                return False
            connection.execute(
                insert(_TABLE).values(
                    source_id=environment.source_id,
                    target_id=environment.target_id,
                    kind=kind,
                    name=name,
                    actor=actor,
                    reason=reason,
                    paused_utc=self.clock(),
                )
            )
        return True

    def resume(self, environment: Environment, kind: str, name: str, *, actor: str) -> int:
        """Lift one pause, or with kind `all` every one; returns how many."""
        which = _active(environment) if kind == ALL else and_(_active(environment), _is(kind, name))
        with self.writing() as connection:
            lifted = connection.execute(update(_TABLE).where(which).values(resumed_by=actor, resumed_utc=self.clock()))
        return lifted.rowcount

    def pauses(self, environment: Environment, table: Table | None = None) -> list[Pause]:
        """What is paused now, oldest first; with a table, only what stops it."""
        with self.reading() as connection:
            return _pauses(connection, environment, table)

    def check_pause(self, environment: Environment, table: Table) -> None:
        """Raises `Paused` if new jobs of the table are stopped."""
        with self.reading() as connection:
            refuse_paused(connection, environment, table)


def refuse_paused(connection: Connection, environment: Environment, table: Table) -> None:
    """Raises `Paused` naming who stopped the jobs of this table."""
    if found := _pauses(connection, environment, table):
        scope = "" if found[0].kind == ALL else f" {found[0].kind}" if found[0].kind == PHASE else ""
        name = "" if found[0].kind == ALL else f" {found[0].name}"
        raise Paused(
            f"New ingest jobs of {table.name} are paused: {'; '.join(map(str, found))}.",
            f"`kpc resume{scope}{name}` lets them go on; then run the load again, it continues where it stopped.",
        )


def _pauses(connection: Connection, environment: Environment, table: Table | None) -> list[Pause]:
    query = select(*_COLUMNS).where(_active(environment)).order_by(_TABLE.c.id)
    if table is not None:
        query = query.where(or_(_TABLE.c.kind == ALL, _is(PHASE, table.phase.value), _is(TABLE, table.name)))
    return [Pause(**row) for row in connection.execute(query).mappings()]


def _active(environment: Environment) -> ColumnElement[bool]:
    return and_(here(_TABLE, environment), _TABLE.c.resumed_utc.is_(None))


def _is(kind: str, name: str) -> ColumnElement[bool]:
    return and_(_TABLE.c.kind == kind, _TABLE.c.name == name)
