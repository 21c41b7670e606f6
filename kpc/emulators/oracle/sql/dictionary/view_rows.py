"""The rows of the dictionary views, from the store's objects."""

from __future__ import annotations

import datetime as dt

from sqlglot import exp

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.dictionary.cells import Cell, Rows, yes_no
from kpc.emulators.oracle.sql.dictionary.storage_rows import index_statistics, statistics_of
from kpc.emulators.oracle.sql.parsing.grammar import parse_condition
from kpc.emulators.oracle.sql.query.nodes import identifier
from kpc.emulators.oracle.sql.storage.store import (
    Constraint,
    Index,
    StoredSequence,
    StoredTable,
    StoredView,
    TableStore,
)
from kpc.emulators.oracle.sql.types.datatypes import PLAIN_SCALE, SqlType

_OBJECT_TYPES: dict[type, str] = {StoredTable: "TABLE", StoredView: "VIEW", StoredSequence: "SEQUENCE"}


def data_type(kind: SqlType) -> str:
    """DATA_TYPE of ALL_TAB_COLUMNS."""
    if kind.is_float:
        return "FLOAT"
    national = "N" if kind.national else ""
    match kind.ora:
        case OraType.TIMESTAMP:
            return f"TIMESTAMP({kind.scale})"
        case OraType.TIMESTAMP_TZ:
            return f"TIMESTAMP({kind.scale}) WITH TIME ZONE"
        case OraType.TIMESTAMP_LTZ:
            return f"TIMESTAMP({kind.scale}) WITH LOCAL TIME ZONE"
        case OraType.INTERVAL_DS:
            return f"INTERVAL DAY({kind.precision}) TO SECOND({kind.scale})"
        case OraType.VARCHAR2 | OraType.CHAR | OraType.CLOB:
            return national + kind.ora.name
        case OraType.LONG_RAW:
            return "LONG RAW"
        case _:
            return kind.ora.name


def _length(kind: SqlType) -> int:
    fixed = {
        OraType.NUMBER: 22,
        OraType.DATE: 7,
        OraType.BINARY_DOUBLE: 8,
        OraType.BINARY_FLOAT: 4,
        OraType.ROWID: 10,
        OraType.LONG: 0,
    }
    if kind.ora in fixed:
        return fixed[kind.ora]
    if kind.ora in (OraType.CLOB, OraType.BLOB):
        return 4000
    if kind.is_time:
        return 13 if kind.ora is OraType.TIMESTAMP_TZ else 7 if kind.scale == 0 else 11
    return kind.size or 11


def table_rows(store: TableStore) -> Rows:
    return [
        {
            "OWNER": t.owner, "TABLE_NAME": t.name, "TABLESPACE_NAME": None if t.partitions else "USERS",
            "STATUS": "VALID", "PARTITIONED": yes_no(t.partitions is not None), "TEMPORARY": "N",
            "IOT_TYPE": "IOT" if t.is_index_organized else None,
            "DEGREE": "         1", "COMPRESSION": "DISABLED", "NESTED": "NO", "DROPPED": "NO",
            **statistics_of(t),
        }
        for t in store.tables()
    ]  # fmt: skip


def column_rows(store: TableStore, context: Context) -> Rows:
    rows: Rows = []
    for table in store.tables():
        rows.extend(
            _column_row(table.owner, table.name, i, c.name, c.type, nullable=c.nullable, default=c.default)
            | {"DEFAULT_ON_NULL": yes_no(c.default_on_null), "IDENTITY_COLUMN": yes_no(c.identity is not None)}
            for i, c in enumerate(table.columns, 1)
        )
    for view in [o for o in list(store.objects.values()) if isinstance(o, StoredView)]:
        if not store.grants.is_visible(context.settings.user, view.owner, view.name):
            continue
        shown = context.schema.relation(view.owner, view.name, context, scn=None)
        rows.extend(
            _column_row(view.owner, view.name, i, c.name, c.type, nullable=c.nullable, default=None)
            for i, c in enumerate(shown.columns, 1)
        )
    return rows


def _column_row(
    owner: str, table: str, position: int, name: str, kind: SqlType, *, nullable: bool, default: str | None
) -> dict[str, Cell]:
    is_character = kind.ora in (OraType.VARCHAR2, OraType.CHAR)
    precision = scale = None
    if kind.is_number and kind.precision:
        precision, scale = kind.precision, None if kind.scale == PLAIN_SCALE else kind.scale
    elif kind.ora is OraType.INTERVAL_DS:
        precision, scale = kind.precision, kind.scale
    elif (kind.is_number and kind.scale != PLAIN_SCALE) or (kind.is_time and kind.ora is not OraType.DATE):
        scale = kind.scale
    return {
        "OWNER": owner, "TABLE_NAME": table, "COLUMN_NAME": name, "DATA_TYPE": data_type(kind),
        "DATA_LENGTH": _length(kind),
        "DATA_PRECISION": precision, "DATA_SCALE": scale, "NULLABLE": "Y" if nullable else "N", "COLUMN_ID": position,
        "DEFAULT_LENGTH": len(default) if default else None, "DATA_DEFAULT": default,
        "CHARACTER_SET_NAME": ("NCHAR_CS" if kind.national else "CHAR_CS") if kind.is_text else None,
        "CHAR_COL_DECL_LENGTH": kind.size if is_character else None, "CHAR_LENGTH": kind.chars if is_character else 0,
        "CHAR_USED": ("C" if kind.by_chars else "B") if is_character else None, "HIDDEN_COLUMN": "NO",
        "VIRTUAL_COLUMN": "NO", "DEFAULT_ON_NULL": "NO", "IDENTITY_COLUMN": "NO",
    }  # fmt: skip


def identity_rows(store: TableStore) -> Rows:
    return [
        {
            "OWNER": t.owner, "TABLE_NAME": t.name, "COLUMN_NAME": c.name, "GENERATION_TYPE": c.identity,
            "SEQUENCE_NAME": c.sequence.name, "IDENTITY_OPTIONS": _identity_options(c.sequence),
        }
        for t in store.tables()
        for c in t.columns
        if c.sequence is not None
    ]  # fmt: skip


def _identity_options(s: StoredSequence) -> str:
    """In the spelling of ALL_TAB_IDENTITY_COLS."""
    cycle, start = "Y" if s.cycle else "N", s.first_value
    return (
        f"START WITH: {start}, INCREMENT BY: {s.increment}, MAX_VALUE: {s.maximum}, MIN_VALUE: {s.minimum}, "
        f"CYCLE_FLAG: {cycle}, CACHE_SIZE: 20, ORDER_FLAG: N, SCALE_FLAG: N, EXTEND_FLAG: N, SESSION_FLAG: N, "
        "KEEP_VALUE: N"
    )


def _declared(table: StoredTable) -> list[Constraint]:
    return [c for c in table.constraints if not c.is_index]


def constraint_rows(store: TableStore) -> Rows:
    rows: Rows = []
    for t in store.tables():
        for c in _declared(t):
            indexed = c.kind in "PU"
            rows.append(
                {
                    "OWNER": t.owner, "CONSTRAINT_NAME": c.name, "CONSTRAINT_TYPE": c.kind, "TABLE_NAME": t.name,
                    "SEARCH_CONDITION": c.condition,
                    "R_OWNER": t.owner if c.parent else None, "R_CONSTRAINT_NAME": c.parent,
                    "DELETE_RULE": "NO ACTION" if c.kind == "R" else None,
                    "STATUS": "ENABLED", "DEFERRABLE": "NOT DEFERRABLE", "DEFERRED": "IMMEDIATE",
                    "VALIDATED": "VALIDATED",
                    "GENERATED": "GENERATED NAME" if c.generated else "USER NAME",
                    "INDEX_OWNER": t.owner if indexed else None,
                    "INDEX_NAME": c.name if indexed else None,
                }
            )  # fmt: skip
    return rows


def constraint_column_rows(store: TableStore) -> Rows:
    return [
        {
            "OWNER": t.owner,
            "CONSTRAINT_NAME": c.name,
            "TABLE_NAME": t.name,
            "COLUMN_NAME": name,
            "POSITION": i if c.kind != "C" else None,
        }
        for t in store.tables()
        for c in _declared(t)
        for i, name in enumerate(c.columns or _columns_of_check(t, c), 1)
    ]


def _columns_of_check(table: StoredTable, constraint: Constraint) -> tuple[str, ...]:
    """The columns that a table's CHECK reads, in the table's order."""
    if constraint.condition is None:
        return ()
    read = {identifier(c.this) for c in parse_condition(constraint.condition).find_all(exp.Column)}
    return tuple(c.name for c in table.columns if c.name in read)


def index_rows(store: TableStore) -> Rows:
    return [
        {
            "OWNER": t.owner, "INDEX_NAME": i.name, "INDEX_TYPE": _index_type(t, i), "TABLE_OWNER": t.owner,
            "TABLE_NAME": t.name, "TABLE_TYPE": "TABLE",
            "UNIQUENESS": "UNIQUE" if i.unique else "NONUNIQUE", "COMPRESSION": "DISABLED", "STATUS": "VALID",
            "PARTITIONED": "NO", "VISIBILITY": "VISIBLE", **index_statistics(t, i.name),
            "GENERATED": "Y" if any(c.generated and c.name == i.name for c in t.constraints) else "N",
        }
        for t in store.tables()
        for i in t.indexes
    ]  # fmt: skip


def _expressions(table: StoredTable, index: Index) -> list[tuple[int, str]]:
    return [(at, text) for at, text in enumerate(index.columns, 1) if table.column(text) is None]


def _index_type(table: StoredTable, index: Index) -> str:
    return "FUNCTION-BASED NORMAL" if _expressions(table, index) else "NORMAL"


def index_expression_rows(store: TableStore) -> Rows:
    return [
        {
            "INDEX_OWNER": t.owner, "INDEX_NAME": i.name, "TABLE_OWNER": t.owner, "TABLE_NAME": t.name,
            "COLUMN_EXPRESSION": text, "COLUMN_POSITION": at,
        }
        for t in store.tables()
        for i in t.indexes
        for at, text in _expressions(t, i)
    ]  # fmt: skip


def index_column_rows(store: TableStore) -> Rows:
    return [
        {
            "INDEX_OWNER": t.owner, "INDEX_NAME": i.name, "TABLE_OWNER": t.owner, "TABLE_NAME": t.name,
            "COLUMN_NAME": name,
            "COLUMN_POSITION": at, "DESCEND": "ASC",
        }
        for t in store.tables()
        for i in t.indexes
        for at, name in enumerate(i.columns, 1)
    ]  # fmt: skip


def object_rows(store: TableStore) -> Rows:
    rows: Rows = []
    for o in list(store.objects.values()):
        kind = _OBJECT_TYPES[type(o)]
        rows.append(_object(o.owner, o.name, o.object_id, kind, o.created))
        if isinstance(o, StoredTable):
            rows.extend(_object(o.owner, i.name, o.object_id, "INDEX", o.created) for i in o.indexes)
    return rows


def _object(owner: str, name: str, number: int, kind: str, created: dt.datetime) -> dict[str, Cell]:
    return {
        "OWNER": owner, "OBJECT_NAME": name, "OBJECT_ID": number, "DATA_OBJECT_ID": number if kind in ("TABLE",
        "INDEX") else None,
        "OBJECT_TYPE": kind, "CREATED": created, "LAST_DDL_TIME": created,
        "TIMESTAMP": created.strftime("%Y-%m-%d:%H:%M:%S"),
        "STATUS": "VALID", "TEMPORARY": "N", "GENERATED": "N",
    }  # fmt: skip


def view_rows(store: TableStore) -> Rows:
    views = [o for o in list(store.objects.values()) if isinstance(o, StoredView)]
    return [{"OWNER": v.owner, "VIEW_NAME": v.name, "TEXT_LENGTH": len(v.written), "TEXT": v.written} for v in views]


def sequence_rows(store: TableStore) -> Rows:
    return [
        {
            "SEQUENCE_OWNER": s.owner, "SEQUENCE_NAME": s.name, "MIN_VALUE": s.minimum, "MAX_VALUE": s.maximum,
            "INCREMENT_BY": s.increment,
            "CYCLE_FLAG": "Y" if s.cycle else "N", "ORDER_FLAG": "N", "CACHE_SIZE": 0, "LAST_NUMBER": s.next_value,
        }
        for s in list(store.objects.values())
        if isinstance(s, StoredSequence)
    ]  # fmt: skip


def comment_table_rows(store: TableStore) -> Rows:
    return [
        {"OWNER": o.owner, "TABLE_NAME": o.name, "TABLE_TYPE": _OBJECT_TYPES[type(o)], "COMMENTS": o.comment}
        for o in list(store.objects.values())
        if isinstance(o, StoredTable | StoredView)
    ]


def comment_column_rows(store: TableStore) -> Rows:
    return [
        {"OWNER": t.owner, "TABLE_NAME": t.name, "COLUMN_NAME": c.name, "COMMENTS": c.comment}
        for t in store.tables()
        for c in t.columns
    ]
