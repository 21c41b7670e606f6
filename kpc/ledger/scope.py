"""The scope of the campaign: which tables and months are migrated, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select

from kpc.ledger import schema
from kpc.ledger.database import Database, inserted_id
from kpc.ledger.partition_filters import environment_values, in_environment
from kpc.partition import Environment

_SCOPE = schema.scope


@dataclass(frozen=True, slots=True)
class ScopeRow:
    """What the campaign covers; the newest row applies.

    `unassigned`: rows without a partition, by table and cause. `access`: how each table is read. `rows`:
    counted rows by table and key; None if nothing was counted, or by an older version.
    """

    id: int
    source_id: str
    target_id: str
    months: list[str]
    tables: list[str]
    mode: str
    sample_rows: int | None
    unassigned: dict[str, dict[str, int]]
    access: dict[str, str]
    rows: dict[str, dict[str, int]] | None
    run_id: str
    actor: str
    set_utc: datetime


class CampaignScope:
    """All scopes of an environment's campaign; the newest applies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(  # noqa: PLR0913  the last three are what a plan counted
        self,
        environment: Environment,
        *,
        months: Sequence[str],
        tables: Sequence[str],
        mode: str,
        run_id: str,
        actor: str,
        unassigned: Mapping[str, Mapping[str, int]] | None = None,
        access: Mapping[str, str] | None = None,
        rows: Mapping[str, Mapping[str, int]] | None = None,
    ) -> int:
        """Set what the campaign covers from now on."""
        with self._database.writing() as connection:
            added = connection.execute(
                insert(_SCOPE).values(
                    **environment_values(environment),
                    months=list(months),
                    tables=list(tables),
                    mode=mode,
                    unassigned=unassigned or {},
                    access=dict(access or {}),
                    rows=rows,
                    run_id=run_id,
                    actor=actor,
                    set_utc=self._database.clock(),
                )
            )
        return inserted_id(added)

    def current(self, environment: Environment) -> ScopeRow | None:
        """What the campaign covers now; None if none was planned."""
        query = select(_SCOPE).where(in_environment(_SCOPE, environment)).order_by(_SCOPE.c.id.desc()).limit(1)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return ScopeRow(**row) if row else None
