"""Refusals of rows for want of a right: on the object, or on a record that belongs to somebody else."""

from __future__ import annotations

import polars as pl

from kpc.emulators.salesforce.errors import RowRefusal
from kpc.emulators.salesforce.org.storage import StorageSession, quoted, table_of
from kpc.emulators.salesforce.writing.write import Write, WriteOutcome

NOT_SHARED = RowRefusal(
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", "insufficient access rights on cross-reference id"
)
READ_ONLY = RowRefusal("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id")


def refuse_without_right(session: StorageSession, write: Write, rows: pl.DataFrame, outcome: WriteOutcome) -> None:
    """Rows by their `target`: a new record needs Create, a known one Edit or Delete, and to be the user's or shared."""
    is_new = rows["target"].is_null()
    if write.operation in ("delete", "hardDelete"):
        if not write.seen.deletable:
            _refuse(outcome, rows["row"].filter(~is_new), READ_ONLY)
    else:
        if not write.seen.createable:
            _refuse(outcome, rows["row"].filter(is_new), _no_entity(write, "inserted"))
        if not write.seen.updateable:
            _refuse(outcome, rows["row"].filter(~is_new), _no_entity(write, "updated"))
    if not write.may_change_foreign and not is_new.all() and write.sobject.find("OwnerId"):
        _refuse(outcome, _foreign(session, write, rows), READ_ONLY)


def refuse_parents(session: StorageSession, write: Write, rows: pl.DataFrame, outcome: WriteOutcome) -> None:
    """Records to be deleted that have children whose lookup does not allow it."""
    for child, reference in write.restricting:
        with session.given("gone", rows.select("row", "target").drop_nulls().to_arrow()):
            found = session.run(
                f"SELECT g.row, min(c.Id) FROM gone g JOIN {table_of(child)} c ON c.{quoted(reference.name)} = g.target"
                " WHERE NOT c.IsDeleted GROUP BY g.row"
            )
        for row, child_id in found:
            what = f"Your attempt to delete this record could not be completed because it is associated with {child_id}"
            outcome.refuse(row, RowRefusal("DELETE_FAILED", f"{what} ({child.label})."))


def _no_entity(write: Write, what: str) -> RowRefusal:
    return RowRefusal("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", f"entity type cannot be {what}: {write.sobject.label}")


def _foreign(session: StorageSession, write: Write, rows: pl.DataFrame) -> pl.Series:
    """The rows whose record has another owner."""
    with session.given("targets", rows.select("row", "target").drop_nulls().to_arrow()):
        found = session.run(
            f"SELECT g.row FROM targets g JOIN {table_of(write.sobject)} t ON t.Id = g.target"
            " WHERE t.OwnerId IS DISTINCT FROM ?",
            [write.user_id],
        )
    return pl.Series([row[0] for row in found], dtype=pl.Int64)


def _refuse(outcome: WriteOutcome, rows: pl.Series, error: RowRefusal) -> None:
    for row in rows:
        outcome.refuse(row, error)
