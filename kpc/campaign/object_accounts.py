"""Which objects are not accounted for: not counted since the last load, or with records of unknown origin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from kpc.catalog.table import Table
from kpc.ledger import ObjectCheckRow, ObjectFinding
from kpc.stages.names import SF_LOADED
from kpc.stages.workspace import Workspace

FOREIGN = "FOREIGN"  # the key under which a person decides about records of unknown origin
_RECENT = timedelta(hours=24)


def foreign_subject(table: str) -> str:
    """The sign-off subject for the records of unknown origin in a table's object."""
    return f"{table} {FOREIGN}"


def foreign_evidence(check: ObjectFinding) -> dict[str, object]:
    """What an acceptance of such records is based on: if they change, a new one is needed."""
    return {"table": check.table_name, "unknown": check.unknown, "ids_sha256": check.detail["ids_sha256"]}


def uncounted(workspace: Workspace, tables: Sequence[Table]) -> list[Table]:
    """The tables whose object was not counted since their last load, or not within a day."""
    environment, now = workspace.environment, workspace.clock()
    checks = workspace.ledger.object_checks.newest(environment)
    loads = [run for run in workspace.ledger.stages.newest(environment) if run.stage == SF_LOADED]
    newest = {
        run.table_name: max(one.started_utc for one in loads if one.table_name == run.table_name) for run in loads
    }
    return [
        table
        for table in tables
        if (check := checks.get(table.name)) is None
        or now - check.checked_utc > _RECENT
        or (table.name in newest and newest[table.name] > check.checked_utc)
    ]


def count_objects(workspace: Workspace, tables: Sequence[Table]) -> None:
    """Count the objects of these tables and record what was found."""
    from kpc.reconcile.whole_object import check_object  # noqa: PLC0415  imports polars; counting is rare

    for table in tables:
        check_object(workspace, table)


def open_checks(workspace: Workspace, tables: Sequence[Table]) -> list[ObjectCheckRow]:
    """The newest counts that found records not accounted for, accepted or not."""
    checks = workspace.ledger.object_checks.newest(workspace.environment)
    found = (checks[table.name] for table in tables if table.name in checks)
    return [check for check in found if check.unknown or not check.is_accounted_for]
