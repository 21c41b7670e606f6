"""Messages about alerts, for people and for programs: counts, names of partitions and commands, no values of rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from kpc.ledger import AlertCondition
from kpc.ledger.states import AlertEvent, AlertKind
from kpc.local_time import LOCAL

_ENDS = {
    AlertKind.OUTAGE: "{subject} answers again.",
    AlertKind.FAILURE: "No failed partition is left at {subject}.",
    AlertKind.MISMATCH: "Source and target agree again in {subject}, or are being compared.",
    AlertKind.QUOTA: "The org's quota has room again; loads continue by themselves.",
    AlertKind.STALLED: "The partitions progress again at {subject}.",
    AlertKind.DISK: "The staging disk has room again.",
    AlertKind.SIGN_OFF: "The sign-off of {subject} is no longer pending.",
}


def title_of(event: AlertEvent, condition: AlertCondition) -> str:
    """One line: the subject of an e-mail."""
    if event is AlertEvent.CLOSED:
        return f"Over: {_ENDS[condition.kind].format(subject=condition.subject).rstrip('.')}"
    prefix = "Still: " if event is AlertEvent.REPEATED else ""
    return prefix + condition.what.rstrip(".")


def body_of(event: AlertEvent, condition: AlertCondition, now: datetime, remark: str = "") -> str:
    """A few lines: what, since when, how many, what to do, where to look."""
    is_closed = event is AlertEvent.CLOSED
    end = f"{_ENDS[condition.kind].format(subject=condition.subject)} It was: {condition.what}"
    lines = [end if is_closed else condition.what, f"Since {shown_time(condition.since_utc)}."]
    if is_closed:
        lines[-1] = f"From {shown_time(condition.since_utc)} to {shown_time(now)}, {_duration(condition, now)}."
    elif named := condition.detail.get("partitions"):
        more = f" and {condition.cases - len(named):,} more" if condition.cases > len(named) else ""
        lines.append(f"Partitions: {', '.join(named)}{more}.")
    if remark:
        lines.append(remark)
    if not is_closed:
        lines.append(f"What to do: {condition.remedy}")
    if page := condition.detail.get("page"):
        lines.append(f"See {page}")
    return "\n".join(lines)


def facts_of(event: AlertEvent, condition: AlertCondition, now: datetime) -> dict[str, Any]:
    """The same content for a program: the body of a webhook."""
    return {
        "event": event.value,
        "kind": condition.kind.value,
        "subject": condition.subject,
        "cases": condition.cases,
        "what": condition.what,
        "remedy": condition.remedy,
        "since_utc": condition.since_utc.isoformat(timespec="seconds"),
        "told_utc": now.isoformat(timespec="seconds"),
        **condition.detail,
    }


def shown_time(moment: datetime) -> str:
    """The source's local time, followed by UTC."""
    return f"{moment.astimezone(LOCAL):%Y-%m-%d %H:%M} in Bangkok ({moment.astimezone(UTC):%H:%M} UTC)"


def _duration(condition: AlertCondition, now: datetime) -> str:
    minutes = max(1, round((now - condition.since_utc).total_seconds() / 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
