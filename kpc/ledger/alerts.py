"""Alerts: what is wrong or waits for a person, who was told of it, and failures that Airflow's tasks reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update

from kpc.ledger import schema
from kpc.ledger.database import Database, inserted_id
from kpc.ledger.partition_filters import environment_values, in_environment, partition_values
from kpc.ledger.states import AlertEvent, AlertKind, DeliveryState
from kpc.partition import Environment, Partition

CLAIM = timedelta(minutes=5)  # after which a message whose sender has died is sent by another one
_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)

_ALERT = schema.alert
_MESSAGE = schema.alert_message
_REPORT = schema.failure_report


@dataclass(frozen=True, slots=True)
class AlertCondition:
    """Something that people must know while it lasts; `cases` is how many partitions, or 1.

    `what` is a sentence, `remedy` what to do, with its command. `detail` has `partitions` and a `page`.
    """

    kind: AlertKind
    subject: str
    cases: int
    what: str
    remedy: str
    since_utc: datetime
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AlertRow(AlertCondition):
    """A condition as it was seen last. `told_utc` is when the newest message about it was written."""

    id: int
    opened_utc: datetime
    seen_utc: datetime
    told_utc: datetime
    closed_utc: datetime | None


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """One message for one channel. `facts` are those of a program that reads it."""

    id: int
    alert: int
    event: AlertEvent
    channel: str
    title: str
    body: str
    facts: dict[str, Any]
    state: DeliveryState
    tries: int
    created_utc: datetime
    sent_utc: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class FailureReport:
    """A failed try of a stage. `cause` is the error's class; `is_final`: Airflow will not try again."""

    table_name: str
    partition_key: str
    stage: str
    cause: str
    is_final: bool
    dag_id: str
    run_id: str
    reported_utc: datetime


class Alerts:
    """The alerts of all environments, their messages, and reports of failures."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lock(self, environment: Environment) -> None:
        """Inside `Ledger.together`: let no other process open, repeat or close an alert meanwhile."""
        with self._database.writing() as connection:
            self._database.one_at_a_time(connection, f"alerts of {environment.source_id} {environment.target_id}")

    def all(self, environment: Environment, *, is_open: bool | None = None, most: int = 1000) -> list[AlertRow]:
        """The newest `most` alerts, oldest first; only open or only closed ones if asked."""
        query = select(_ALERT).where(in_environment(_ALERT, environment))
        if is_open is not None:
            query = query.where(_ALERT.c.closed_utc.is_(None) if is_open else _ALERT.c.closed_utc.is_not(None))
        names = AlertCondition.__slots__ + AlertRow.__slots__
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(_ALERT.c.id.desc()).limit(most)).mappings().all()
        return [AlertRow(**{name: row[name] for name in names}) for row in reversed(rows)]

    def open(self, environment: Environment, condition: AlertCondition, now: datetime) -> int:
        """Record a condition that is seen for the first time; returns its number."""
        with self._database.writing() as connection:
            added = connection.execute(
                insert(_ALERT).values(
                    **environment_values(environment), **_columns(condition), opened_utc=now, seen_utc=now, told_utc=now
                )
            )
        return inserted_id(added)

    def see(self, alert: int, condition: AlertCondition, now: datetime, *, is_told: bool) -> None:
        """Record that a condition still holds, with its present number; its beginning stays."""
        values = _columns(condition) | {"seen_utc": now} | ({"told_utc": now} if is_told else {})
        values.pop("since_utc")
        with self._database.writing() as connection:
            connection.execute(update(_ALERT).where(_ALERT.c.id == alert).values(values))

    def close(self, alert: int, now: datetime) -> None:
        with self._database.writing() as connection:
            connection.execute(
                update(_ALERT).where(_ALERT.c.id == alert).values(seen_utc=now, told_utc=now, closed_utc=now)
            )

    # Messages

    def write(
        self,
        alert: int,
        event: AlertEvent,
        channels: Sequence[str],
        *,
        title: str,
        body: str,
        facts: dict[str, Any],
        now: datetime,
    ) -> None:
        """Leave a message for each channel, to be sent by whoever claims it."""
        with self._database.writing() as connection:
            for channel in channels:
                connection.execute(
                    insert(_MESSAGE).values(
                        alert=alert,
                        event=event,
                        channel=channel,
                        title=title,
                        body=body,
                        facts=facts,
                        state=DeliveryState.PENDING,
                        tries=0,
                        created_utc=now,
                        next_try_utc=now,
                    )
                )

    def claim(self, channel: str, by: str) -> AlertMessage | None:
        """The oldest message of a channel that is due, for this sender alone; None if there is none.

        A later message waits for an earlier one: an end must not arrive before its beginning.
        """
        with self._database.writing() as connection:
            self._database.one_at_a_time(connection, f"alert messages by {channel}")
            now = self._database.clock()
            row = (
                connection.execute(
                    select(_MESSAGE)
                    .where(_MESSAGE.c.channel == channel, _MESSAGE.c.state == DeliveryState.PENDING)
                    .order_by(_MESSAGE.c.id)
                    .limit(1)
                )
                .mappings()
                .one_or_none()
            )
            if row is None or row["next_try_utc"] > now:
                return None
            connection.execute(
                update(_MESSAGE)
                .where(_MESSAGE.c.id == row["id"])
                .values(claimed_by=by, next_try_utc=now + CLAIM, tries=row["tries"] + 1)
            )
        return AlertMessage(**{name: row[name] for name in AlertMessage.__slots__} | {"tries": row["tries"] + 1})

    def sent(self, message: int) -> None:
        with self._database.writing() as connection:
            connection.execute(
                update(_MESSAGE)
                .where(_MESSAGE.c.id == message)
                .values(state=DeliveryState.SENT, sent_utc=self._database.clock(), error=None)
            )

    def not_sent(self, message: AlertMessage, error: str, give_up_s: float) -> DeliveryState:
        """Record a failed try: again after a minute, two, four, at most an hour; given up after `give_up_s`."""
        now = self._database.clock()
        is_over = (now - message.created_utc).total_seconds() > give_up_s
        state = DeliveryState.GIVEN_UP if is_over else DeliveryState.PENDING
        wait = min(_FIRST_WAIT * 2 ** min(message.tries - 1, 10), _LONGEST_WAIT)
        with self._database.writing() as connection:
            connection.execute(
                update(_MESSAGE)
                .where(_MESSAGE.c.id == message.id)
                .values(state=state, error=error, next_try_utc=now + wait)
            )
        return state

    def messages(self, alerts: Sequence[int]) -> list[AlertMessage]:
        """All messages about these alerts, oldest first."""
        columns = [_MESSAGE.c[name] for name in AlertMessage.__slots__]
        query = select(*columns).where(_MESSAGE.c.alert.in_(alerts)).order_by(_MESSAGE.c.id)
        with self._database.reading() as connection:
            return [AlertMessage(*row) for row in connection.execute(query)]

    # Reports

    def report(
        self,
        environment: Environment,
        partition: Partition,
        stage: str,
        *,
        cause: str,
        is_final: bool,
        dag_id: str,
        run_id: str,
    ) -> None:
        """Record that a try of a stage failed in Airflow; the newest one of each partition and stage is kept."""
        where = {**partition_values(environment, partition), "stage": stage}
        values = {"cause": cause, "is_final": is_final, "dag_id": dag_id, "run_id": run_id}
        self._database.upsert(_REPORT, where, {**values, "reported_utc": self._database.clock()})

    def reports(self, environment: Environment) -> list[FailureReport]:
        """The newest reported failure of each partition and stage."""
        columns = [_REPORT.c[name] for name in FailureReport.__slots__]
        query = select(*columns).where(in_environment(_REPORT, environment))
        with self._database.reading() as connection:
            return [FailureReport(*row) for row in connection.execute(query.order_by(_REPORT.c.reported_utc))]


def _columns(condition: AlertCondition) -> dict[str, Any]:
    return {name: getattr(condition, name) for name in AlertCondition.__slots__}
