"""Refusals that do not depend on the data: a trigger, a missing permission, a full org. A switch turns them on."""

from __future__ import annotations

from kpc.emulators.salesforce.errors import RowRefusal
from kpc.emulators.salesforce.settings import Switches

_MESSAGES = {
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": "SomeTrigger: execution of BeforeInsert caused by: System.NullPointer",
    "INSUFFICIENT_ACCESS_OR_READONLY": "insufficient access rights on object id",
    "STORAGE_LIMIT_EXCEEDED": "storage limit exceeded",
}


def refuse_all(switches: Switches, rows: int) -> dict[int, RowRefusal]:
    """An error for each of `rows` rows, by position; none while the switch is off."""
    if not switches.refuse_rows:
        return {}
    error = RowRefusal(switches.refuse_rows, _MESSAGES[switches.refuse_rows])
    return dict.fromkeys(range(rows), error)
