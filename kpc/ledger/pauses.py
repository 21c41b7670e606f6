"""Pauses: while something is paused no new ingest job is created in it; running jobs are polled to their end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, update

from kpc.catalog import Table
from kpc.errors import Paused
from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.partition_filters import environment_values, in_environment
from kpc.ledger.states import PauseScope
from kpc.partition import Environment

_PAUSE = schema.pause
_COLUMNS = (_PAUSE.c.kind, _PAUSE.c.name, _PAUSE.c.actor, _PAUSE.c.reason, _PAUSE.c.paused_utc)


@dataclass(frozen=True, slots=True)
class Pause:
    """What is paused, by whom, why and since when; `name` is that of the phase or table."""

    kind: PauseScope
    name: str
    actor: str
    reason: str | None
    paused_utc: datetime

    def __str__(self) -> str:
        what = "everything" if self.kind == PauseScope.ALL else f"{self.kind} {self.name}"
        why = f" ({self.reason})" if self.reason else ""
        return f"{what}, by {self.actor} since {self.paused_utc:%Y-%m-%d %H:%M} UTC{why}"


class Pauses:
    """The pauses of every environment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(
        self, environment: Environment, kind: PauseScope, name: str, *, actor: str, reason: str | None = None
    ) -> bool:
        """Pause new jobs; False if exactly this is paused already."""
        with self._database.writing() as connection:
            self._database.one_at_a_time(connection, f"jobs of {environment.target_id}")
            if connection.execute(select(_PAUSE.c.id).where(_in_force(environment), _is(kind, name))).first():
                return False
            connection.execute(
                insert(_PAUSE).values(
                    **environment_values(environment),
                    kind=kind,
                    name=name,
                    actor=actor,
                    reason=reason,
                    paused_utc=self._database.clock(),
                )
            )
        return True

    def lift(self, environment: Environment, kind: PauseScope, name: str, *, actor: str) -> int:
        """Lift one pause, or every one with `PauseScope.ALL`; returns how many."""
        which = _in_force(environment) if kind == PauseScope.ALL else and_(_in_force(environment), _is(kind, name))
        with self._database.writing() as connection:
            lifted = connection.execute(
                update(_PAUSE).where(which).values(resumed_by=actor, resumed_utc=self._database.clock())
            )
        return lifted.rowcount

    def active(self, environment: Environment, table: Table | None = None) -> list[Pause]:
        """The active pauses, oldest first; with a table, only those that apply to it."""
        with self._database.reading() as connection:
            return _active(connection, environment, table)

    def check(self, environment: Environment, table: Table) -> None:
        """Raises `Paused` if new jobs of the table are paused."""
        with self._database.reading() as connection:
            refuse_paused(connection, environment, table)


def refuse_paused(connection: Connection, environment: Environment, table: Table) -> None:
    """Raises `Paused`, listing the pauses, if new jobs of the table are paused."""
    if found := _active(connection, environment, table):
        oldest = found[0]
        what = {PauseScope.ALL: "", PauseScope.PHASE: f" phase {oldest.name}", PauseScope.TABLE: f" {oldest.name}"}
        raise Paused(
            f"New ingest jobs of {table.name} are paused: {'; '.join(map(str, found))}.",
            f"`kpc resume{what[oldest.kind]}` lifts the pause; then run the load again, it continues where it stopped.",
        )


def _active(connection: Connection, environment: Environment, table: Table | None) -> list[Pause]:
    query = select(*_COLUMNS).where(_in_force(environment)).order_by(_PAUSE.c.id)
    if table is not None:
        query = query.where(
            or_(
                _PAUSE.c.kind == PauseScope.ALL,
                _is(PauseScope.PHASE, table.phase.value),
                _is(PauseScope.TABLE, table.name),
            )
        )
    return [Pause(**row) for row in connection.execute(query).mappings()]


def _in_force(environment: Environment) -> ColumnElement[bool]:
    return and_(in_environment(_PAUSE, environment), _PAUSE.c.resumed_utc.is_(None))


def _is(kind: PauseScope, name: str) -> ColumnElement[bool]:
    return and_(_PAUSE.c.kind == kind, _PAUSE.c.name == name)
