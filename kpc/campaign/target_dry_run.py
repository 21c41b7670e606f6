"""A dry run against the org: one made-up row per object is written, read back, compared and deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from kpc.campaign.system_check import CheckSubject, SystemCheck
from kpc.catalog import TABLES, Table
from kpc.catalog.types import CURRENCY_FIELD, EXTERNAL_ID, PARTITION_FIELD, Column, FieldKind
from kpc.errors import KpcError
from kpc.salesforce import Salesforce
from kpc.salesforce.collections import FieldValue
from kpc.salesforce.soql import text_literal

# No row in Oracle has such an id, and no partition this key, so that leftovers of an interrupted run can be found.
MARK = "KPC-PREFLIGHT-DRY-RUN"
_NO_PARTITION = "0000-00"
_DATE, _DATETIME = "2024-01-31", "2024-01-31T10:20:30.000Z"
_TEXT = "ทดสอบ kpc"

_Made = dict[str, FieldValue]


def run_dry(salesforce: Salesforce) -> Iterator[SystemCheck]:
    """Write, read, compare and delete, parents before children; nothing is left in the org, even after an error.

    What an earlier, killed run left is deleted first. The records go to the org's recycle bin.
    """
    subject = CheckSubject("Salesforce", salesforce.settings.base_url)
    tried: list[Table] = []
    refused: set[str] = set()
    try:
        yield from _leftovers(salesforce)
        try:
            for table in _parents_first():
                tried.append(table)
                if refused.isdisjoint(lookup.parent for lookup in table.lookups):
                    check = _one_row(salesforce, table)
                else:
                    check = _without_parent(table)
                refused |= set() if check.is_ok else {table.name}
                yield check
        finally:
            # By the mark, not by the answers: an interrupted request may have written its row.
            deleted = [_delete(salesforce, table) for table in reversed(tried)]
        yield from deleted
    except KpcError as error:
        yield subject.failed("dry run", error.what, f"{error.remedy} Then repeat `kpc preflight --dry-run`.")


def _about(table: Table) -> CheckSubject:
    return CheckSubject("Salesforce", table.target)


def _parents_first() -> list[Table]:
    ordered: dict[str, Table] = {}

    def add(table: Table) -> None:
        for lookup in table.lookups:
            add(TABLES[lookup.parent])
        ordered.setdefault(table.name, table)

    for table in TABLES.values():
        add(table)
    return list(ordered.values())


def _without_parent(table: Table) -> SystemCheck:
    return _about(table).failed(
        "dry run",
        f"No row of {table.target} was written, because its parent's was refused.",
        "Correct the parent first, then repeat `kpc preflight --dry-run`.",
    )


def _leftovers(salesforce: Salesforce) -> Iterator[SystemCheck]:
    """Delete what an earlier run could no longer delete, children first."""
    for table in reversed(_parents_first()):
        if _marked(salesforce, table):
            deleted = _delete(salesforce, table)
            what = f"An interrupted dry run had left a record in {table.target}; it has now been deleted."
            about = _about(table)
            yield about.warning("dry run leftover", what, "Nothing is left to do.") if deleted.is_ok else deleted


def _marked(salesforce: Salesforce, table: Table) -> list[str]:
    return [str(record["Id"]) for record in salesforce.query(_by_mark(table, "Id"))]


def _by_mark(table: Table, fields: str) -> str:
    return f"SELECT {fields} FROM {table.target} WHERE {EXTERNAL_ID} = {text_literal(MARK)}"  # noqa: S608


def _one_row(salesforce: Salesforce, table: Table) -> SystemCheck:
    """Write the row, read it back and compare it."""
    about, made = _about(table), made_up(table)
    [saved] = salesforce.upsert_records(table.target, EXTERNAL_ID, [made])
    if saved.error:
        what = f"A made-up row of {table.target} was refused: {saved.error}"
        return about.failed("dry run", what, "Correct what the message names, then repeat.")
    names = [name for name, value in made.items() if not isinstance(value, Mapping)]
    parents = [f"{lookup.relationship}.{EXTERNAL_ID}" for lookup in table.lookups]
    found = list(salesforce.query(_by_mark(table, ", ".join([*names, *parents]))))
    if len(found) != 1:
        what = f"The row of {table.target} that was written is found {len(found)} times."
        return about.failed("dry run", what, "Check that the user sees all records and that External_ID__c is unique.")
    if different := sorted(_differences(made, found[0])):
        what = f"{', '.join(different)} of {table.target} returned a different value from the one written."
        return about.failed("dry run", what, "Find the trigger, flow or default that changes these fields.")
    return about.ok("dry run", f"a row of {len(made)} fields was written, read back and compared")


def _differences(made: _Made, found: Mapping[str, Any]) -> Iterator[str]:
    for name, value in made.items():
        if isinstance(value, Mapping):
            parent = found.get(name)
            if not isinstance(parent, dict) or parent.get(EXTERNAL_ID) != MARK:
                yield name
        elif not _is_same(value, found.get(name)):
            yield name


def _is_same(sent: FieldValue, read: object) -> bool:
    if isinstance(sent, Decimal):
        return not isinstance(read, bool) and isinstance(read, int | Decimal) and sent == read
    if sent == _DATETIME:
        return str(read).replace("+0000", "Z") == sent
    return sent == read


def _delete(salesforce: Salesforce, table: Table) -> SystemCheck:
    try:
        refused = [one.error for one in salesforce.delete_records(_marked(salesforce, table)) if one.error]
    except KpcError as error:
        refused = [error.what]
    if not refused:
        return _about(table).ok("dry run deleted", "nothing is left of it")
    return _about(table).failed(
        "dry run deleted",
        f"The made-up row of {table.target} could not be deleted: {refused[0]}",
        f"Grant Delete on {table.target}, then repeat `kpc preflight --dry-run`: it deletes what is left.",
    )


def made_up(table: Table) -> _Made:
    """A row with a value in every field that is sent."""
    made: _Made = {EXTERNAL_ID: MARK, PARTITION_FIELD: _NO_PARTITION}
    for lookup in table.lookups:
        made[lookup.relationship] = {EXTERNAL_ID: MARK}
    for column in table.sent_columns:
        if column.field and column.type:
            made[column.field] = _value(column)
    if table.currency:
        made[CURRENCY_FIELD] = table.currency
    return made


def _value(column: Column) -> FieldValue:
    kind = column.type
    if kind is None or kind.kind is FieldKind.BOOLEAN:
        return True
    if kind.kind is FieldKind.PICKLIST:
        return kind.values[0]
    if kind.is_number:
        return Decimal("1." + "1" * kind.scale) if kind.scale else Decimal(1)
    texts = {
        FieldKind.EMAIL: "dry.run@example.com",
        FieldKind.PHONE: "021234567",
        FieldKind.DATE: _DATE,
        FieldKind.DATETIME: _DATETIME,
    }
    return texts.get(kind.kind, _TEXT)[: kind.length or None]
