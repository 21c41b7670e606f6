"""What an administrator has put between a row and its record: validation and duplicate rules, triggers, flows."""

from __future__ import annotations

from typing import Any

import polars as pl

from kpc.emulators.salesforce.errors import RowRefusal
from kpc.emulators.salesforce.org.storage import StorageSession, quoted, table_of
from kpc.emulators.salesforce.writing.write import Write, WriteOutcome


def refuse_by_rules(session: StorageSession, write: Write, rows: pl.DataFrame, outcome: WriteOutcome) -> None:
    """In Salesforce's order of execution: before-triggers, validation rules, duplicate rules, flows after saving."""
    setup, sobject = write.setup, write.sobject
    for trigger in setup.active("triggers", sobject):
        if trigger.get("fails"):
            what = f"{trigger['name']}: execution of BeforeInsert caused by: System.NullPointerException"
            _refuse(outcome, rows["row"], RowRefusal("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", what))
    for rule in setup.active("validation_rules", sobject):
        message = str(rule.get("message", rule["name"]))
        fields = (rule["field"],) if "field" in rule else ()
        _refuse(outcome, _empty(rows, rule), RowRefusal("FIELD_CUSTOM_VALIDATION_EXCEPTION", message, fields))
    for rule in setup.active("duplicate_rules", sobject):
        found = _duplicates(session, write, rows, rule)
        _refuse(outcome, found, RowRefusal("DUPLICATES_DETECTED", "Use one of these records?"))
    for flow in setup.active("flows", sobject):
        if flow.get("fails"):
            what = f"We can't save this record because the {flow['name']} process failed."
            _refuse(outcome, rows["row"], RowRefusal("CANNOT_EXECUTE_FLOW_TRIGGER", what))


def _empty(rows: pl.DataFrame, rule: dict[str, Any]) -> pl.Series:
    """The rows in which the rule's field is left empty; all rows for a rule without a field."""
    name = rule.get("field")
    if name is None:
        return rows["row"]
    if name not in rows.columns:
        return rows["row"].filter(rows["target"].is_null())
    return rows["row"].filter(rows[name].is_null())


def _duplicates(session: StorageSession, write: Write, rows: pl.DataFrame, rule: dict[str, Any]) -> pl.Series:
    """The rows whose value of the rule's field another record has."""
    name = str(rule.get("field"))
    if name not in rows.columns:
        return rows["row"].head(0)
    with session.given("mine", rows.select("row", "target", value=name).to_arrow()):
        found = session.run(
            f"SELECT DISTINCT m.row FROM mine m JOIN {table_of(write.sobject)} t ON t.{quoted(name)} = m.value"
            " WHERE NOT t.IsDeleted AND t.Id IS DISTINCT FROM m.target"
        )
    return pl.Series([row[0] for row in found], dtype=pl.Int64)


def _refuse(outcome: WriteOutcome, rows: pl.Series, error: RowRefusal) -> None:
    for row in rows:
        outcome.refuse(row, error)
