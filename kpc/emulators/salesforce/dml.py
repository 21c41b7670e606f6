"""Writing rows: insert, update, upsert and delete of up to a batch at once, with an error per row that fails.

Everything is done a column at a time; rows are told apart by their position in the batch. Call it inside one
`Storage.writing()` transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from kpc.emulators.salesforce.api_error import RowError
from kpc.emulators.salesforce.columns import Column
from kpc.emulators.salesforce.ids import make_ids
from kpc.emulators.salesforce.schema import Field, SObject
from kpc.emulators.salesforce.storage import Session, quoted, table_of, take_numbers
from kpc.emulators.salesforce.values import SET_NULL, Converted, convert, key_of

CHUNK_ROWS = 200  # rows that are one transaction, within which a key may stand only once


@dataclass(frozen=True, slots=True)
class Write:
    """What is done, by whom and when. `key` is the field an upsert matches by; `source` names the job or request."""

    operation: str
    sobject: SObject
    key: Field | None
    user_id: str
    at: datetime
    source: str
    null_clears_parent: bool = True  # a null external id of a parent; otherwise it is looked for, and not found


@dataclass(slots=True)
class Outcome:
    """Per row: its record id and whether it was created, or its error."""

    ids: list[str | None]
    created: list[bool]
    errors: dict[int, RowError] = field(default_factory=dict)

    def refuse(self, row: int, error: RowError) -> None:
        self.errors.setdefault(row, error)


def write_rows(
    session: Session,
    write: Write,
    columns: Sequence[Column],
    cells: pl.DataFrame,
    refused: Mapping[int, RowError] | None = None,
) -> Outcome:
    """Write all rows of `cells` (one text column per entry of `columns`, see values.py) that are right.

    Rows in `refused` are not written, whatever they hold.
    """
    outcome = Outcome([None] * cells.height, [False] * cells.height, dict(refused or {}))
    if cells.height == 0:
        return outcome
    columns = [each for each in columns if not _is_empty_id(each, cells)]
    converted = {each.field.name: _convert(session, write, each, cells, outcome) for each in columns}
    if write.operation in ("delete", "hardDelete"):
        _delete(session, write, converted, outcome)
        return outcome
    _refuse_unwritable(write, converted, outcome)
    rows = pl.DataFrame({"row": pl.int_range(cells.height, eager=True), **{k: c.values for k, c in converted.items()}})
    rows = rows.with_columns(c.given.alias(f"given${name}") for name, c in converted.items())
    rows = _with_match_keys(write, rows, converted, outcome)
    for number in sorted(rows["occurrence"].unique()):
        _write_wave(session, write, rows.filter(pl.col("occurrence") == number), outcome)
    return outcome


def _is_empty_id(column: Column, cells: pl.DataFrame) -> bool:
    """Some clients put an empty Id column first; it means nothing."""
    return column.field.name == "Id" and cells.to_series(column.position).null_count() == cells.height


def _convert(session: Session, write: Write, column: Column, cells: pl.DataFrame, outcome: Outcome) -> Converted:
    given = cells.to_series(column.position)
    if column.parent is None or column.key is None:
        result = convert(column.field, given)
    else:
        text = given.replace(SET_NULL, None if write.null_clears_parent else "#N/A")
        result = _look_up(session, column.field, column.parent, column.key, text)
        result.given = given.is_not_null()
    for row, error in result.errors.items():
        outcome.refuse(row, error)
    return result


def _look_up(session: Session, reference: Field, parent: SObject, key: Field, text: pl.Series) -> Converted:
    """Parents by their external id."""
    keys = pl.DataFrame({"row": pl.int_range(len(text), eager=True), "key": key_of(key, text)})
    found = _find(session, parent, key, keys["key"].drop_nulls().unique())
    joined = keys.join(found, on="key", how="left", maintain_order="left")
    result = Converted(joined["Id"], text.is_not_null())
    wrong = joined.filter(pl.col("key").is_not_null() & (pl.col("Id").is_null() | (pl.col("matches") > 1)))
    for row, matches in wrong.select("row", "matches").iter_rows():
        if matches:
            error = RowError("INVALID_FIELD", f"More than one record found for external id field: {key.name}")
        else:
            message = f"Foreign key external ID: {text[row]} not found for field {key.name} in entity {parent.name}"
            error = RowError("INVALID_FIELD", message, (reference.name,))
        result.errors[row] = error
    return result


def _find(session: Session, sobject: SObject, key: Field, keys: pl.Series) -> pl.DataFrame:
    """Live records by key: columns key, Id (one of them), matches."""
    column = quoted("Id" if key.name == "Id" else key.key_column)
    with session.given("wanted", pl.DataFrame({"key": keys}).to_arrow()):
        found = session.table(
            f"SELECT w.key, min(t.Id) AS Id, count(*) AS matches FROM wanted w JOIN {table_of(sobject)} t"
            f" ON t.{column} = w.key WHERE NOT t.IsDeleted GROUP BY w.key"
        )
    return pl.DataFrame(found, schema={"key": pl.String, "Id": pl.String, "matches": pl.Int64})


def _refuse_unwritable(write: Write, converted: dict[str, Converted], outcome: Outcome) -> None:
    """Values for fields that nobody may set."""
    for name, values in converted.items():
        spec = write.sobject.by_name[name.lower()]
        if name == "Id" and write.operation != "insert":
            continue
        if not (spec.createable or spec.updateable):
            message = (
                f"Unable to create/update fields: {name}. Please check the security settings of this field and verify"
                " that it is read/write for your profile or permission set."
            )
            for row in values.given.arg_true():
                outcome.refuse(row, RowError("INVALID_FIELD_FOR_INSERT_UPDATE", message, (name,)))


def _with_match_keys(
    write: Write, rows: pl.DataFrame, converted: dict[str, Converted], outcome: Outcome
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
            outcome.refuse(row, RowError("MISSING_ARGUMENT", missing, (key.name,)))
    rows = rows.with_columns(match.alias("match"))
    alive = rows.filter(_alive(rows, outcome) & pl.col("match").is_not_null())
    in_chunk = pl.struct("match", pl.col("row") // CHUNK_ROWS)
    what = "Duplicate id specified" if key.name == "Id" else "Duplicate external id specified"
    for row, match_key in alive.filter(in_chunk.is_duplicated()).select("row", "match").iter_rows():
        outcome.refuse(row, RowError("DUPLICATE_VALUE", f"{what}: {match_key}", (key.name,)))
    counted = alive.filter(_alive(alive, outcome)).select(
        "row", occurrence=pl.int_range(pl.len()).over("match").cast(pl.Int32)
    )
    return rows.join(counted, on="row", how="left", maintain_order="left").with_columns(
        pl.col("occurrence").fill_null(0)
    )


def _alive(rows: pl.DataFrame, outcome: Outcome) -> pl.Series:
    if not outcome.errors:
        return pl.repeat(value=True, n=rows.height, eager=True)
    return ~rows["row"].is_in(list(outcome.errors))


def _write_wave(session: Session, write: Write, rows: pl.DataFrame, outcome: Outcome) -> None:
    """Write rows of which no two have the same key."""
    rows = _with_targets(session, write, rows.filter(_alive(rows, outcome)), outcome)
    rows = rows.filter(_alive(rows, outcome))
    _refuse_incomplete(write, rows, outcome)
    _refuse_taken(session, write, rows.filter(_alive(rows, outcome)), outcome)
    rows = rows.filter(_alive(rows, outcome))
    fresh, known = rows.filter(pl.col("target").is_null()), rows.filter(pl.col("target").is_not_null())
    if fresh.height:
        fresh = _insert(session, write, fresh)
    if known.height:
        _update(session, write, known)
    for part, is_new in ((fresh, True), (known, False)):
        for row, record_id in part.select("row", "target").iter_rows():
            outcome.ids[row], outcome.created[row] = record_id, is_new
        _remember(session, write, part, "insert" if is_new else "update")


def _with_targets(session: Session, write: Write, rows: pl.DataFrame, outcome: Outcome) -> pl.DataFrame:
    """Add `target`, the id of the record a row changes; None for a new one."""
    if write.operation == "insert":
        return rows.with_columns(target=pl.lit(None, pl.String))
    key = write.key or write.sobject.by_name["id"]
    found = _find(session, write.sobject, key, rows["match"].drop_nulls())
    rows = rows.join(found, left_on="match", right_on="key", how="left", maintain_order="left")
    rows = rows.with_columns(pl.col("Id_right" if "Id_right" in rows.columns else "Id").alias("target"))
    for row, value in rows.filter(pl.col("matches") > 1).select("row", "match").iter_rows():
        message = f"{key.name}: more than one record found for external id field: {value}"
        outcome.refuse(row, RowError("DUPLICATE_EXTERNAL_ID", message, (key.name,)))
    if key.name == "Id":
        missing = rows.filter(pl.col("target").is_null() & pl.col("match").is_not_null())
        _refuse_unknown(session, write.sobject, missing, outcome)
    return rows


def _refuse_unknown(session: Session, sobject: SObject, rows: pl.DataFrame, outcome: Outcome) -> None:
    """Rows that name a record that is not there, or no longer."""
    if rows.height == 0:
        return
    with session.given("wanted", rows.select("match").to_arrow()):
        deleted = {
            row[0]
            for row in session.run(
                f"SELECT t.Id FROM {table_of(sobject)} t JOIN wanted w ON w.match = t.Id WHERE t.IsDeleted"
            )
        }
    for row, record_id in rows.select("row", "match").iter_rows():
        if record_id in deleted:
            outcome.refuse(row, RowError("ENTITY_IS_DELETED", "entity is deleted"))
        else:
            outcome.refuse(row, RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id"))


def _refuse_incomplete(write: Write, rows: pl.DataFrame, outcome: Outcome) -> None:
    """New records without a required field, and changes that would empty one."""
    missing: dict[int, list[str]] = {}
    for spec in write.sobject.required:
        if spec.name in rows.columns:
            lacks = pl.col(spec.name).is_null() & (pl.col("target").is_null() | pl.col(f"given${spec.name}"))
        else:
            lacks = pl.col("target").is_null()
        for row in rows.filter(lacks)["row"]:
            missing.setdefault(row, []).append(spec.name)
    for row, names in missing.items():
        message = f"Required fields are missing: [{', '.join(names)}]"
        outcome.refuse(row, RowError("REQUIRED_FIELD_MISSING", message, tuple(names)))


def _refuse_taken(session: Session, write: Write, rows: pl.DataFrame, outcome: Outcome) -> None:
    """Values of unique fields that another record, or an earlier row, has."""
    for spec in write.sobject.fields:
        if not spec.unique or spec == write.key or spec.name not in rows.columns:
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
            outcome.refuse(row, RowError("DUPLICATE_VALUE", message, (spec.name,)))


def _insert(session: Session, write: Write, rows: pl.DataFrame) -> pl.DataFrame:
    """Store new records; answers the rows with their ids in `target`."""
    sobject = write.sobject
    first = take_numbers(session, sobject.name, rows.height)
    rows = rows.with_columns(target=make_ids(sobject.prefix, first, rows.height))
    now = pl.lit(write.at.replace(tzinfo=None), pl.Datetime("ms"))
    stored: dict[str, pl.Expr] = {each.name: pl.lit(value=False) for each in sobject.fields if each.type == "boolean"}
    stored |= {"CreatedDate": now, "LastModifiedDate": now, "SystemModstamp": now, "Id": pl.col("target")}
    stored |= {"CreatedById": pl.lit(write.user_id), "LastModifiedById": pl.lit(write.user_id)}
    for spec in sobject.fields:
        default = {"OwnerId": pl.lit(write.user_id), "Name": pl.col("target")}.get(spec.name, stored.get(spec.name))
        if spec.name in rows.columns and spec.name != "Id":
            stored[spec.name] = pl.col(spec.name) if default is None else pl.col(spec.name).fill_null(default)
        elif default is not None:
            stored[spec.name] = default
    frame = rows.select(expression.alias(name) for name, expression in stored.items())
    frame = frame.with_columns(
        key_of(spec, frame[spec.name]).alias(spec.key_column) for spec in sobject.keys if spec.name in frame.columns
    )
    names = ", ".join(quoted(name) for name in frame.columns)
    with session.given("fresh", frame.to_arrow()):
        session.run(f"INSERT INTO {table_of(sobject)} ({names}) SELECT {names} FROM fresh")
    _compose_names(session, sobject, rows)
    return rows


def _update(session: Session, write: Write, rows: pl.DataFrame) -> None:
    """Change the given fields of existing records; what was not given stays."""
    sobject = write.sobject
    sets, columns = [], [pl.col("target")]
    for spec in sobject.fields:
        if spec.name not in rows.columns or spec.name == "Id" or spec == write.key:
            continue
        given = rows[f"given${spec.name}"]
        if not given.any():
            continue
        names = [spec.name]
        columns.append(pl.col(spec.name))
        if spec in sobject.keys:
            columns.append(key_of(spec, rows[spec.name]).alias(spec.key_column))  # type: ignore[arg-type]
            names.append(spec.key_column)
        if not given.all():
            columns.append(pl.col(f"given${spec.name}"))
        for name in map(quoted, names):
            flag = quoted(f"given${spec.name}")
            value = f"b.{name}" if given.all() else f"CASE WHEN b.{flag} THEN b.{name} ELSE t.{name} END"
            sets.append(f"{name} = {value}")
    sets += ["LastModifiedDate = $1", "SystemModstamp = $1", "LastModifiedById = $2"]
    with session.given("changed", rows.select(columns).to_arrow()):
        session.run(
            f"UPDATE {table_of(sobject)} t SET {', '.join(sets)} FROM changed b WHERE t.Id = b.target",
            [write.at.replace(tzinfo=None), write.user_id],
        )
    _compose_names(session, sobject, rows)


def _compose_names(session: Session, sobject: SObject, rows: pl.DataFrame) -> None:
    """A person's Name is made of first and last name."""
    if sobject.name_field.createable or not sobject.find("LastName"):
        return
    with session.given("named", rows.select("target").to_arrow()):
        session.run(
            f"UPDATE {table_of(sobject)} t SET Name = concat_ws(' ', t.FirstName, t.LastName)"
            " FROM named n WHERE t.Id = n.target"
        )


def _delete(session: Session, write: Write, converted: dict[str, Converted], outcome: Outcome) -> None:
    """Put records into the recycle bin, or remove them for good."""
    rows = pl.DataFrame({"row": pl.int_range(len(outcome.ids), eager=True)})
    rows = _with_match_keys(write, rows, converted, outcome)
    rows = _with_targets(session, write, rows.filter(_alive(rows, outcome)), outcome)
    rows = rows.filter(_alive(rows, outcome))
    table = table_of(write.sobject)
    with session.given("gone", rows.select("target").to_arrow()):
        if write.operation == "hardDelete":
            session.run(f"DELETE FROM {table} WHERE Id IN (SELECT target FROM gone)")
        else:
            session.run(
                f"UPDATE {table} t SET IsDeleted = true, LastModifiedDate = $1, SystemModstamp = $1,"
                " LastModifiedById = $2 FROM gone g WHERE t.Id = g.target",
                [write.at.replace(tzinfo=None), write.user_id],
            )
    for row, record_id in rows.select("row", "target").iter_rows():
        outcome.ids[row] = record_id
    _remember(session, write, rows, write.operation)


def _remember(session: Session, write: Write, rows: pl.DataFrame, what: str) -> None:
    """Log every accepted write, so that a checker can prove what happened."""
    if rows.height == 0:
        return
    with session.given("accepted", rows.select("target", "match").to_arrow()):
        session.run(
            "INSERT INTO emulator.history SELECT nextval('emulator.history_number'), $1, $2, $3, $4, target, match"
            " FROM accepted",
            [write.at.replace(tzinfo=None), write.source, what, write.sobject.name],
        )
