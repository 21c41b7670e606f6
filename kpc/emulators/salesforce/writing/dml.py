"""Writing rows: insert, update, upsert and delete of up to a batch at once, with an error per row that fails.

Everything is done a column at a time; rows are told apart by their position in the batch. Call it inside one
`Storage.writing()` transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from kpc.emulators.salesforce.errors import RowRefusal
from kpc.emulators.salesforce.org.currencies import CURRENCY_FIELD, USERS_OWN
from kpc.emulators.salesforce.org.record_ids import record_ids
from kpc.emulators.salesforce.org.schema import SObject, SObjectField
from kpc.emulators.salesforce.org.storage import StorageSession, quoted, table_of, take_numbers
from kpc.emulators.salesforce.writing.columns import UploadColumn
from kpc.emulators.salesforce.writing.lookup import convert_column, find_records, is_empty_id
from kpc.emulators.salesforce.writing.plain_columns import convert_plain
from kpc.emulators.salesforce.writing.rights import refuse_parents, refuse_without_right
from kpc.emulators.salesforce.writing.row_checks import (
    refuse_incomplete,
    refuse_taken,
    refuse_unknown,
    refuse_unwritable,
)
from kpc.emulators.salesforce.writing.rules import refuse_by_rules
from kpc.emulators.salesforce.writing.values import Converted, key_of
from kpc.emulators.salesforce.writing.write import CHUNK_ROWS, Write, WriteOutcome


def write_rows(
    session: StorageSession,
    write: Write,
    columns: Sequence[UploadColumn],
    cells: pl.DataFrame,
    refused: Mapping[int, RowRefusal] | None = None,
) -> WriteOutcome:
    """Write all rows of `cells` (one text column per entry of `columns`, see values.py) that are right.

    Rows in `refused` are not written, whatever they hold.
    """
    outcome = WriteOutcome(cells.height, dict(refused or {}))
    if cells.height == 0:
        return outcome
    columns = [each for each in columns if not is_empty_id(each, cells)]
    converted = _convert(session, write, columns, cells, outcome)
    if write.operation in ("delete", "hardDelete"):
        _delete(session, write, converted, outcome)
        return outcome
    refuse_unwritable(write, converted, outcome)
    given = {f"given${name}": each.given for name, each in converted.items() if not each.given.all()}
    values = {name: each.values for name, each in converted.items()}
    rows = pl.DataFrame({"row": pl.int_range(cells.height, eager=True), **values, **given})
    rows = _with_match_keys(write, rows, converted, outcome)
    waves = rows["occurrence"].n_unique()
    for number in range(waves):
        wave = rows if waves == 1 else rows.filter(pl.col("occurrence") == number)
        _write_wave(session, write, wave, outcome)
    return outcome


def _convert(
    session: StorageSession, write: Write, columns: Sequence[UploadColumn], cells: pl.DataFrame, outcome: WriteOutcome
) -> dict[str, Converted]:
    """The values of all columns, by field."""
    names = {each.field.name: cells.columns[each.position] for each in columns}
    plain = convert_plain({names[each.field.name]: each.field for each in columns if each.parent is None}, cells)
    return {
        each.field.name: plain.get(names[each.field.name]) or convert_column(session, write, each, cells, outcome)
        for each in columns
    }


def _with_match_keys(
    write: Write, rows: pl.DataFrame, converted: dict[str, Converted], outcome: WriteOutcome
) -> pl.DataFrame:
    """Add `match`, the key by which a row finds its record, and `occurrence`, how often it stood before."""
    if write.operation == "insert":
        return rows.with_columns(match=pl.lit(None, pl.String), occurrence=pl.lit(0))
    key = write.key or write.sobject.by_name["id"]
    values = converted.get(key.name)
    match = key_of(key, values.values) if values else pl.Series([None], dtype=pl.String).new_from_index(0, rows.height)
    if key.name == "Id":
        match = match.str.strip_chars()
    if not (write.operation == "upsert" and key.name == "Id"):
        missing = f"{key.name} not specified" + (" in an update call" if key.name == "Id" else "")
        for row in match.is_null().arg_true():
            outcome.refuse(row, RowRefusal("MISSING_ARGUMENT", missing, (key.name,)))
    rows = rows.with_columns(match.alias("match"))
    alive = outcome.alive(rows.select("row", "match")).drop_nulls()
    if alive["match"].n_unique() == alive.height:
        return rows.with_columns(occurrence=pl.lit(0, pl.Int32))
    in_chunk = pl.struct("match", pl.col("row") // CHUNK_ROWS)
    what = "Duplicate id specified" if key.name == "Id" else "Duplicate external id specified"
    for row, match_key in alive.filter(in_chunk.is_duplicated()).select("row", "match").iter_rows():
        outcome.refuse(row, RowRefusal("DUPLICATE_VALUE", f"{what}: {match_key}", (key.name,)))
    counted = outcome.alive(alive).select("row", occurrence=pl.int_range(pl.len()).over("match").cast(pl.Int32))
    return rows.join(counted, on="row", how="left", maintain_order="left").with_columns(
        pl.col("occurrence").fill_null(0)
    )


def _write_wave(session: StorageSession, write: Write, rows: pl.DataFrame, outcome: WriteOutcome) -> None:
    """Write rows of which no two have the same key."""
    rows = _with_targets(session, write, outcome.alive(rows), outcome)
    rows = outcome.alive(rows)
    refuse_without_right(session, write, rows, outcome)
    refuse_incomplete(write, outcome.alive(rows), outcome)
    refuse_taken(session, write, outcome.alive(rows), outcome)
    refuse_by_rules(session, write, outcome.alive(rows), outcome)
    rows = outcome.alive(rows)
    fresh, known = _new_and_known(rows)
    if fresh.height:
        fresh = _insert(session, write, fresh)
        outcome.keep(fresh, created=True)
        _remember(session, write, fresh, "insert")
    if known.height:
        _update(session, write, known)
        outcome.keep(known, created=False)
        _remember(session, write, known, "update")


def _new_and_known(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    is_new = rows["target"].is_null()
    if is_new.all() or not is_new.any():  # as mostly: nothing is copied
        return (rows, rows.head(0)) if is_new.all() else (rows.head(0), rows)
    return rows.filter(is_new), rows.filter(~is_new)


def _with_targets(session: StorageSession, write: Write, rows: pl.DataFrame, outcome: WriteOutcome) -> pl.DataFrame:
    """Add `target`, the id of the record a row changes, and its `position` if that is known; None for a new one."""
    if write.operation == "insert":
        return rows.with_columns(target=pl.lit(None, pl.String), position=pl.lit(None, pl.Int64))
    key = write.key or write.sobject.by_name["id"]
    found = find_records(session, write.indexes, write.seen, key, rows["match"].drop_nulls())
    matched = rows.select("row", "match").join(
        found, left_on="match", right_on="key", how="left", maintain_order="left"
    )
    rows = rows.with_columns(target=matched["Id"], position=matched["position"])
    for row, value in matched.filter(pl.col("matches") > 1).select("row", "match").iter_rows():
        message = f"{key.name}: more than one record found for external id field: {value}"
        outcome.refuse(row, RowRefusal("DUPLICATE_EXTERNAL_ID", message, (key.name,)))
    if key.name == "Id":
        missing = rows.select("row", "match").filter(rows["target"].is_null() & rows["match"].is_not_null())
        refuse_unknown(session, write, missing, outcome)
    return rows


def _insert(session: StorageSession, write: Write, rows: pl.DataFrame) -> pl.DataFrame:
    """Store new records; answers the rows with their ids in `target`."""
    sobject = write.sobject
    first = take_numbers(session, sobject.name, rows.height)
    rows = rows.with_columns(target=record_ids(sobject.prefix, first, rows.height, write.seed))
    constants = _defaults(write)
    given = [spec for spec in sobject.fields if spec.name in rows.columns and spec.name != "Id"]
    frame = rows.select(
        "target",
        *(spec.name for spec in given),
        *(_key_values(write, spec, rows) for spec in given if spec in sobject.keys),
    )
    values = {"Id": "target", "Name": "target"} if sobject.find("Name") else {"Id": "target"}
    values |= {name: f"${position}" for position, name in enumerate(constants, 1)}
    for spec in given:
        default = values.get(spec.name)
        values[spec.name] = f"coalesce({quoted(spec.name)}, {default})" if default else quoted(spec.name)
        if spec in sobject.keys:
            values[spec.key_column] = quoted(spec.key_column)
    if sobject.name_field in sobject.keys:  # without a name, a record is called by its id
        given_key = '"Name$key"' if "Name" in rows.columns else "NULL"
        values["Name$key"] = f"coalesce({given_key}, lower(target))"
    names = ", ".join(map(quoted, values))
    with session.given("fresh", frame.to_arrow()):
        session.run(
            f"INSERT INTO {table_of(sobject)} ({names}) SELECT {', '.join(values.values())} FROM fresh",
            list(constants.values()),
        )
    write.indexes.add(sobject, first, frame.rename({"target": "Id"}))
    _compose_names(session, sobject, rows)
    return rows


def _key_values(write: Write, spec: SObjectField, rows: pl.DataFrame) -> pl.Series:
    """What is stored beside a key field, to find records by; for the field that an upsert matches by it is known."""
    known = rows["match"] if spec == write.key else key_of(spec, rows[spec.name])
    return known.alias(spec.key_column)


def _defaults(write: Write) -> dict[str, object]:
    """The fields that a new record has without being given them, and their values."""
    now = write.at.replace(tzinfo=None)
    known = {spec.name: False for spec in write.sobject.fields if spec.type == "boolean"}
    people = dict.fromkeys(("CreatedById", "LastModifiedById"), write.user_id)
    if write.sobject.find("OwnerId"):
        people["OwnerId"] = write.user_id
    if write.sobject.find(CURRENCY_FIELD):
        people[CURRENCY_FIELD] = USERS_OWN.code
    return {**known, **people, "CreatedDate": now, "LastModifiedDate": now, "SystemModstamp": now}


def _update(session: StorageSession, write: Write, rows: pl.DataFrame) -> None:
    """Change the given fields of existing records; what was not given stays."""
    sobject = write.sobject
    sets: list[str] = []
    columns: list[pl.Series] = [rows["target"], rows["position"]]
    for spec in sobject.fields:
        if spec.name not in rows.columns or spec.name == "Id" or spec == write.key:
            continue
        is_partial = f"given${spec.name}" in rows.columns
        if is_partial and not rows[f"given${spec.name}"].any():
            continue
        names = [spec.name]
        columns.append(rows[spec.name])
        if spec in sobject.keys:
            columns.append(_key_values(write, spec, rows))
            names.append(spec.key_column)
            write.indexes.forget(sobject, spec.key_column)
        if is_partial:
            columns.append(rows[f"given${spec.name}"])
        for name in map(quoted, names):
            flag = quoted(f"given${spec.name}")
            value = f"CASE WHEN b.{flag} THEN b.{name} ELSE t.{name} END" if is_partial else f"b.{name}"
            sets.append(f"{name} = {value}")
    sets += ["LastModifiedDate = $1", "SystemModstamp = $1", "LastModifiedById = $2"]
    with session.given("changed", pl.DataFrame(columns).to_arrow()):
        _change(session, rows, f"UPDATE {table_of(sobject)} t SET {', '.join(sets)} FROM changed b", write)
    _compose_names(session, sobject, rows)


def _change(session: StorageSession, rows: pl.DataFrame, update: str, write: Write) -> None:
    """Run an update of the records in `rows`, joined as b: by their positions if they are known and right."""
    parameters = [write.at.replace(tzinfo=None), write.user_id]
    if rows["position"].null_count() == 0:
        [(changed,)] = session.run(f"{update} WHERE t.rowid = b.position AND t.Id = b.target", parameters)
        if changed == rows.height:
            return
    session.run(f"{update} WHERE t.Id = b.target", parameters)


def _compose_names(session: StorageSession, sobject: SObject, rows: pl.DataFrame) -> None:
    """A person's Name is made of first and last name."""
    if sobject.name_field.createable or not sobject.find("LastName"):
        return
    with session.given("named", rows.select("target").to_arrow()):
        session.run(
            f"UPDATE {table_of(sobject)} t SET Name = concat_ws(' ', t.FirstName, t.LastName)"
            " FROM named n WHERE t.Id = n.target"
        )


def _delete(session: StorageSession, write: Write, converted: dict[str, Converted], outcome: WriteOutcome) -> None:
    """Put records into the recycle bin, or remove them for good."""
    rows = pl.DataFrame({"row": pl.int_range(outcome.rows, eager=True)})
    rows = _with_match_keys(write, rows, converted, outcome)
    rows = _with_targets(session, write, outcome.alive(rows), outcome)
    refuse_without_right(session, write, outcome.alive(rows), outcome)
    refuse_parents(session, write, outcome.alive(rows), outcome)
    rows = outcome.alive(rows)
    table = table_of(write.sobject)
    with session.given("gone", rows.select("target", "position").to_arrow()):
        if write.operation == "hardDelete":
            session.run(f"DELETE FROM {table} WHERE Id IN (SELECT target FROM gone)")
        else:
            sets = "IsDeleted = true, LastModifiedDate = $1, SystemModstamp = $1, LastModifiedById = $2"
            _change(session, rows, f"UPDATE {table} t SET {sets} FROM gone b", write)
    outcome.keep(rows, created=False)
    _remember(session, write, rows, write.operation)


def _remember(session: StorageSession, write: Write, rows: pl.DataFrame, what: str) -> None:
    """Record every accepted write, so that a test can check what happened."""
    if rows.height == 0:
        return
    with session.given("accepted", rows.select("target", "match").to_arrow()):
        session.run(
            "INSERT INTO emulator.history SELECT nextval('emulator.history_number'), $1, $2, $3, $4, target, match"
            " FROM accepted",
            [write.at.replace(tzinfo=None), write.source, what, write.sobject.name],
        )
