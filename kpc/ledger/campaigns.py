"""Campaigns: what somebody asked to migrate, how far it was started, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from kpc.ledger import schema
from kpc.ledger.database import Database, inserted_id
from kpc.ledger.partition_filters import environment_values, in_environment
from kpc.ledger.states import CampaignState
from kpc.partition import Environment, Partition

_CAMPAIGN = schema.campaign
_START = schema.campaign_start


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """One campaign. `options` are those of `kpc.campaign.request`; `result` is what it ended with.

    `round` counts how often it was started or continued; `run_id` is the run that did so last.
    """

    id: int
    source_id: str
    target_id: str
    months: list[str]
    tables: list[str]
    mode: str
    options: dict[str, Any]
    state: CampaignState
    round: int
    run_id: str
    actor: str
    started_utc: datetime
    continued_utc: datetime
    ended_utc: datetime | None
    ended_by: str | None
    reason: str | None
    result: dict[str, Any] | None

    @property
    def environment(self) -> Environment:
        return Environment(self.source_id, self.target_id)


@dataclass(frozen=True, slots=True)
class CampaignStart:
    """A partition whose first stage a campaign started in one of its rounds, as the run `run_id`."""

    campaign: int
    table_name: str
    partition_key: str
    round: int
    run_id: str
    started_utc: datetime


class Campaigns:
    """All campaigns of all environments."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lock(self, environment: Environment) -> None:
        """Inside `Ledger.together`: let no other process open a campaign of this environment meanwhile."""
        with self._database.writing() as connection:
            self._database.one_at_a_time(connection, f"campaigns of {environment.source_id} {environment.target_id}")

    def add(
        self,
        environment: Environment,
        *,
        months: Sequence[str],
        tables: Sequence[str],
        mode: str,
        options: Mapping[str, Any],
        run_id: str,
        actor: str,
    ) -> int:
        """Record a new, running campaign in its first round; returns its number."""
        now = self._database.clock()
        with self._database.writing() as connection:
            added = connection.execute(
                insert(_CAMPAIGN).values(
                    **environment_values(environment),
                    months=list(months),
                    tables=list(tables),
                    mode=mode,
                    options=dict(options),
                    state=CampaignState.RUNNING,
                    round=1,
                    run_id=run_id,
                    actor=actor,
                    started_utc=now,
                    continued_utc=now,
                )
            )
        return inserted_id(added)

    def continue_(self, campaign: int, *, run_id: str) -> None:
        """Begin the next round of a campaign, which runs again."""
        with self._database.writing() as connection:
            connection.execute(
                update(_CAMPAIGN)
                .where(_CAMPAIGN.c.id == campaign)
                .values(
                    state=CampaignState.RUNNING,
                    round=_CAMPAIGN.c.round + 1,
                    run_id=run_id,
                    continued_utc=self._database.clock(),
                    ended_utc=None,
                    ended_by=None,
                    reason=None,
                )
            )

    def end(
        self,
        campaign: int,
        state: CampaignState,
        *,
        actor: str,
        reason: str | None = None,
        result: Mapping[str, Any] | None = None,
        round_: int | None = None,
    ) -> bool:
        """End a running campaign; False if it does not run any more, or is not in `round_` any more."""
        query = update(_CAMPAIGN).where(_CAMPAIGN.c.id == campaign, _CAMPAIGN.c.state == CampaignState.RUNNING)
        if round_ is not None:
            query = query.where(_CAMPAIGN.c.round == round_)
        values: dict[str, Any] = {"state": state, "ended_by": actor, "reason": reason}
        if result is not None:
            values["result"] = dict(result)
        with self._database.writing() as connection:
            ended = connection.execute(query.values(**values, ended_utc=self._database.clock()))
        return ended.rowcount == 1

    def find(self, campaign: int) -> CampaignRow | None:
        with self._database.reading() as connection:
            return _row(connection, campaign)

    def all(self, environment: Environment, state: CampaignState | None = None) -> list[CampaignRow]:
        """The campaigns of an environment, oldest first; with `state`, only those in it."""
        query = select(_CAMPAIGN).where(in_environment(_CAMPAIGN, environment)).order_by(_CAMPAIGN.c.id)
        if state is not None:
            query = query.where(_CAMPAIGN.c.state == state)
        with self._database.reading() as connection:
            return [CampaignRow(**row) for row in connection.execute(query).mappings()]

    def start(self, campaign: int, partition: Partition, round_: int, run_id: str) -> bool:
        """Record that a partition's first stage is about to be started; False if it was recorded in this round."""
        try:
            with self._database.writing() as connection:
                connection.execute(
                    insert(_START).values(
                        campaign=campaign,
                        table_name=partition.table.name,
                        partition_key=partition.key,
                        round=round_,
                        run_id=run_id,
                        started_utc=self._database.clock(),
                    )
                )
        except IntegrityError:
            return False
        return True

    def starts(self, campaign: int) -> list[CampaignStart]:
        """The newest start of every partition that the campaign has started."""
        query = select(_START).where(_START.c.campaign == campaign).order_by(_START.c.round)
        with self._database.reading() as connection:
            found = [CampaignStart(**row) for row in connection.execute(query).mappings()]
        return list({(one.table_name, one.partition_key): one for one in found}.values())


def _row(connection: Connection, campaign: int) -> CampaignRow | None:
    row = connection.execute(select(_CAMPAIGN).where(_CAMPAIGN.c.id == campaign)).mappings().one_or_none()
    return CampaignRow(**row) if row else None
