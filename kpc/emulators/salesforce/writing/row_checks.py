"""Checks for rows that cannot be written, run on all rows of a batch at once."""

from __future__ import annotations

import polars as pl

from kpc.emulators.salesforce.errors import RowRefusal
from kpc.emulators.salesforce.org.storage import StorageSession, quoted, table_of
from kpc.emulators.salesforce.writing.rights import NOT_SHARED
from kpc.emulators.salesforce.writing.values import Converted, key_of
from kpc.emulators.salesforce.writing.write import Write, WriteOutcome


def refuse_unwritable(write: Write, converted: dict[str, Converted], outcome: WriteOutcome) -> None:
    """Values for fields that nobody may set."""
    for name, values in converted.items():
        spec = write.seen.by_name[name.lower()]
        if name == "Id" and write.operation != "insert":
            continue
        if not (spec.createable or spec.updateable):
            message = (
                f"Unable to create/update fields: {name}. Please check the security settings of this field and verify"
                " that it is read/write for your profile or permission set."
            )
            for row in values.given.arg_true():
                outcome.refuse(row, RowRefusal("INVALID_FIELD_FOR_INSERT_UPDATE", message, (name,)))


def refuse_unknown(session: StorageSession, write: Write, rows: pl.DataFrame, outcome: WriteOutcome) -> None:
    """Rows that name a record that does not exist, was deleted or is not shared with the user."""
    if rows.height == 0:
        return
    with session.given("wanted", rows.select("match").to_arrow()):
        is_deleted = dict(
            session.run(f"SELECT t.Id, t.IsDeleted FROM {table_of(write.sobject)} t JOIN wanted w ON w.match = t.Id")
        )
    for row, record_id in rows.select("row", "match").iter_rows():
        if is_deleted.get(record_id):
            outcome.refuse(row, RowRefusal("ENTITY_IS_DELETED", "entity is deleted"))
        elif record_id in is_deleted:
            outcome.refuse(row, NOT_SHARED)
        else:
            outcome.refuse(row, RowRefusal("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id"))


def refuse_incomplete(write: Write, rows: pl.DataFrame, outcome: WriteOutcome) -> None:
    """New records without a required field, and changes that would empty one."""
    missing: dict[int, list[str]] = {}
    for spec in write.sobject.required:
        if spec.name in rows.columns and rows[spec.name].null_count() == 0:
            continue
        lacks = rows["target"].is_null()
        if spec.name in rows.columns:
            given = f"given${spec.name}"  # without such a column, all rows give it
            lacks = rows[spec.name].is_null() & (lacks | rows[given] if given in rows.columns else True)
        for row in rows["row"].filter(lacks):
            missing.setdefault(row, []).append(spec.name)
    for row, names in missing.items():
        message = f"Required fields are missing: [{', '.join(names)}]"
        outcome.refuse(row, RowRefusal("REQUIRED_FIELD_MISSING", message, tuple(names)))


def refuse_taken(session: StorageSession, write: Write, rows: pl.DataFrame, outcome: WriteOutcome) -> None:
    """Values of unique fields that another record, or an earlier row, has."""
    for spec in write.sobject.fields:
        is_matched_by = spec == write.key and not write.seen.visible_sql
        if not spec.unique or is_matched_by or spec.name not in rows.columns:
            continue
        mine = rows.select("row", "target", key=key_of(spec, rows[spec.name])).filter(pl.col("key").is_not_null())
        with session.given("mine", mine.to_arrow()):
            taken = session.run(
                f"SELECT m.row, t.Id FROM mine m JOIN {table_of(write.sobject)} t"
                f" ON t.{quoted(spec.key_column)} = m.key WHERE NOT t.IsDeleted AND t.Id IS DISTINCT FROM m.target"
            )
        repeated = mine.filter(~pl.col("key").is_first_distinct())["row"]
        for row, other in [*taken, *((row, "<unknown>") for row in repeated)]:
            message = f"duplicate value found: {spec.name} duplicates value on record with id: {other}"
            outcome.refuse(row, RowRefusal("DUPLICATE_VALUE", message, (spec.name,)))
