"""One check for alerts: compare what holds now with the alerts sent before, and queue messages for the channels.

Several processes may check at once. Each compares and writes in one transaction, one after the other, so that exactly
one of them queues the message about a condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kpc.campaign.alerts.conditions import conditions, is_final
from kpc.campaign.alerts.outages import SYSTEM_OF, SYSTEMS
from kpc.campaign.alerts.sightings import Sightings, partitions
from kpc.campaign.alerts.wording import body_of, facts_of, title_of
from kpc.ledger import AlertCondition, AlertRow
from kpc.ledger.states import AlertEvent, AlertKind
from kpc.partition import Environment
from kpc.stages.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Looked:
    """The titles of the messages that one check queued. `open_alerts` is how many conditions hold."""

    open_alerts: int = 0
    opened: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()


def known_environment(workspace: Workspace) -> Environment | None:
    """The systems last identified at these addresses, without asking them; None before the first run."""
    settings, endpoints = workspace.settings, workspace.ledger.endpoints
    source = endpoints.identity_of("oracle", f"{settings.oracle.user}@{settings.oracle.dsn}")
    target = endpoints.identity_of("salesforce", settings.salesforce.base_url)
    return Environment(source, target) if source and target else None


def look(workspace: Workspace, channels: Sequence[str]) -> Looked:
    """Open, repeat and close alerts, with a message to each channel. Nothing is sent here."""
    environment = known_environment(workspace)
    if environment is None:
        return Looked()
    now, alerts = workspace.clock(), workspace.ledger.alerts
    seen = Sightings(workspace, environment, now, alerts.all(environment, is_open=True))
    found = conditions(seen)  # outside of the transaction: it may ask the systems
    with workspace.ledger.together():
        alerts.lock(environment)
        told = _Teller(workspace, environment, now, tuple(channels))
        known = {(one.kind, one.subject): one for one in alerts.all(environment, is_open=True)}
        has_ended = {one.subject for one in known.values() if one.kind is AlertKind.OUTAGE} - {
            one.subject for one in found if one.kind is AlertKind.OUTAGE
        }
        for condition in found:
            told.about(condition, known.pop((condition.kind, condition.subject), None), has_ended)
        for row in known.values():
            if row.seen_utc <= now:  # not an alert that another process has opened since
                told.end_of(row, _remark(row, seen))
    return told.looked(len(found))


class _Teller:
    """Writes alerts and messages inside the transaction of one check."""

    def __init__(
        self, workspace: Workspace, environment: Environment, now: datetime, channels: tuple[str, ...]
    ) -> None:
        self._alerts = workspace.ledger.alerts
        self._repeat = timedelta(seconds=workspace.settings.alerts.repeat_s)
        self._environment, self._now, self._channels = environment, now, channels
        self._titles: dict[AlertEvent, list[str]] = {event: [] for event in AlertEvent}

    def about(self, condition: AlertCondition, row: AlertRow | None, has_ended: set[str]) -> None:
        if row is None:
            number = self._alerts.open(self._environment, condition, self._now)
            if not _is_told_by_end(condition, has_ended):
                self._tell(number, AlertEvent.OPENED, condition)
            return
        is_due = self._now - row.told_utc >= self._repeat
        self._alerts.see(row.id, condition, self._now, is_told=is_due)
        if is_due:
            self._tell(row.id, AlertEvent.REPEATED, _with_beginning(condition, row))

    def end_of(self, row: AlertRow, remark: str) -> None:
        self._alerts.close(row.id, self._now)
        self._tell(row.id, AlertEvent.CLOSED, row, remark)

    def looked(self, open_alerts: int) -> Looked:
        opened, repeated, closed = (tuple(self._titles[event]) for event in AlertEvent)
        return Looked(open_alerts, opened, repeated, closed)

    def _tell(self, alert: int, event: AlertEvent, condition: AlertCondition, remark: str = "") -> None:
        title = title_of(event, condition)
        self._titles[event].append(title)
        body, facts = body_of(event, condition, self._now, remark), facts_of(event, condition, self._now)
        self._alerts.write(
            alert, event, self._channels, title=title, body=body, facts={"alert": alert, **facts}, now=self._now
        )


def _with_beginning(condition: AlertCondition, row: AlertRow) -> AlertCondition:
    return AlertCondition(
        condition.kind, condition.subject, condition.cases, condition.what, condition.remedy, row.since_utc,
        condition.detail,
    )  # fmt: skip


def _is_told_by_end(condition: AlertCondition, has_ended: set[str]) -> bool:
    """Whether the message about an outage's end names these failures: they are then repeated later, not sent twice."""
    cause = condition.subject.rpartition(" ")[2]
    return condition.kind is AlertKind.FAILURE and SYSTEM_OF.get(cause) in has_ended


def _remark(row: AlertRow, seen: Sightings) -> str:
    """What remains after an outage: partitions that Airflow gave up during it."""
    system = next((one for one in SYSTEMS if one.name == row.subject), None)
    if row.kind is not AlertKind.OUTAGE or system is None:
        return ""
    left = [one for one in seen.failures if one.cause in system.causes and is_final(one)]
    if not left:
        return "Nothing is left to do: the partitions continue by themselves."
    first = left[0]
    return (
        f"{partitions(len(left))} failed for good during it. Start each again (`kpc status` lists them): "
        f"`kpc rerun {first.table_name} {first.partition_key} --stage {first.stage}`."
    )
