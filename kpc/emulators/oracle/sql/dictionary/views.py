"""The data dictionary and V$ views, computed on demand.

Each view is a small Arrow table made from the store's objects. ALL_ views have OWNER; the USER_ views omit it
and show the session's own schema; DBA_ is not granted.
"""

from __future__ import annotations

import datetime as dt

import pyarrow as pa

from kpc.emulators.oracle.sql.context import ColumnView, Context, RelationView
from kpc.emulators.oracle.sql.dictionary.cells import Cell, Rows
from kpc.emulators.oracle.sql.dictionary.instance_views import (
    Maker,
    database_rows,
    instance_rows,
    nls_rows,
    privilege_rows,
    session_and_character_set_rows,
    session_nls_rows,
    session_rows,
    user_rows,
    version_rows,
)
from kpc.emulators.oracle.sql.dictionary.policy_views import (
    parameter_rows,
    policy_rows,
    redaction_column_rows,
    redaction_policy_rows,
    resource_limit_rows,
    undo_rows,
)
from kpc.emulators.oracle.sql.dictionary.storage_rows import (
    partition_key_rows,
    partition_rows,
    partitioned_table_rows,
    segment_rows,
    statistics_rows,
)
from kpc.emulators.oracle.sql.dictionary.view_columns import OWNER_COLUMNS, VIEW_COLUMNS
from kpc.emulators.oracle.sql.dictionary.view_rows import (
    column_rows,
    comment_column_rows,
    comment_table_rows,
    constraint_column_rows,
    constraint_rows,
    identity_rows,
    index_column_rows,
    index_expression_rows,
    index_rows,
    object_rows,
    sequence_rows,
    table_rows,
    view_rows,
)
from kpc.emulators.oracle.sql.functions import environment
from kpc.emulators.oracle.sql.instance import Instance
from kpc.emulators.oracle.sql.types import datatypes
from kpc.emulators.oracle.sql.types.datatypes import DATE, SqlType, varchar2

_NUMBER = datatypes.free_number(18, 0)
_MAKERS: dict[str, Maker] = {
    "V$DATABASE": database_rows,
    "V$VERSION": version_rows,
    "V$INSTANCE": instance_rows,
    "V$SESSION": session_rows,
    "V$NLS_PARAMETERS": session_and_character_set_rows,
    "NLS_DATABASE_PARAMETERS": nls_rows,
    "NLS_SESSION_PARAMETERS": session_nls_rows,
    "NLS_INSTANCE_PARAMETERS": nls_rows,
    "SESSION_PRIVS": privilege_rows,
    "SESSION_ROLES": lambda d, c: [{"ROLE": "CONNECT"}, {"ROLE": "RESOURCE"}],
    "USER_ROLE_PRIVS": lambda d, c: [
        {"USERNAME": c.settings.user, "GRANTED_ROLE": r, "ADMIN_OPTION": "NO", "DEFAULT_ROLE": "YES"}
        for r in ("CONNECT", "RESOURCE")
    ],
    "PRODUCT_COMPONENT_VERSION": lambda d, c: [
        {
            "PRODUCT": "Oracle Database 19c Enterprise Edition ",
            "VERSION": "19.0.0.0.0",
            "VERSION_FULL": environment.VERSION,
            "STATUS": "Production",
        }
    ],
    "GLOBAL_NAME": lambda d, c: [{"GLOBAL_NAME": d.name}],
    "ALL_USERS": user_rows,
    "USER_USERS": lambda d, c: [row for row in user_rows(d, c) if row["USERNAME"] == c.settings.user],
    "ALL_TABLES": lambda d, c: table_rows(d.store),
    "ALL_TAB_COLUMNS": lambda d, c: column_rows(d.store, c),
    "ALL_CONSTRAINTS": lambda d, c: constraint_rows(d.store),
    "ALL_CONS_COLUMNS": lambda d, c: constraint_column_rows(d.store),
    "ALL_INDEXES": lambda d, c: index_rows(d.store),
    "ALL_IND_COLUMNS": lambda d, c: index_column_rows(d.store),
    "ALL_OBJECTS": lambda d, c: object_rows(d.store),
    "ALL_VIEWS": lambda d, c: view_rows(d.store),
    "ALL_SEQUENCES": lambda d, c: sequence_rows(d.store),
    "ALL_TAB_COMMENTS": lambda d, c: comment_table_rows(d.store),
    "ALL_COL_COMMENTS": lambda d, c: comment_column_rows(d.store),
    "ALL_TAB_PARTITIONS": lambda d, c: partition_rows(d.store),
    "ALL_PART_TABLES": lambda d, c: partitioned_table_rows(d.store),
    "ALL_PART_KEY_COLUMNS": lambda d, c: partition_key_rows(d.store),
    "ALL_TAB_STATISTICS": lambda d, c: statistics_rows(d.store),
    "USER_SEGMENTS": lambda d, c: segment_rows(d.store, c.settings.user),
    "ALL_TAB_IDENTITY_COLS": lambda d, c: identity_rows(d.store),
    "ALL_IND_EXPRESSIONS": lambda d, c: index_expression_rows(d.store),
    "USER_RESOURCE_LIMITS": resource_limit_rows,
    "V$PARAMETER": parameter_rows,
    "V$UNDOSTAT": undo_rows,
    "ALL_POLICIES": policy_rows,
    "REDACTION_POLICIES": redaction_policy_rows,
    "REDACTION_COLUMNS": redaction_column_rows,
    "ALL_MVIEWS": lambda d, c: [],
    "ALL_MVIEW_COMMENTS": lambda d, c: [],
    "ALL_DB_LINKS": lambda d, c: [],
    "ALL_SYNONYMS": lambda d, c: [],
}
_SHORT = {
    "TABS": "USER_TABLES",
    "COLS": "USER_TAB_COLUMNS",
    "OBJ": "USER_OBJECTS",
    "IND": "USER_INDEXES",
    "SEQ": "USER_SEQUENCES",
    "CAT": "USER_CATALOG",
}


def dictionary_view(
    owner: str | None, name: str, instance: Instance, context: Context, user: str
) -> RelationView | None:
    """The view as `user` sees it, or None if there is none of that name or the user may not read it."""
    if owner not in (None, "SYS", "PUBLIC"):
        return None
    name = _SHORT.get(name, name)
    name = name.replace("V_$", "V$") if name.startswith("V_$") else name
    name = name.replace("_TAB_COLS", "_TAB_COLUMNS") if name.endswith("_TAB_COLS") else name
    full = name
    if name.startswith("USER_") and name not in _MAKERS:
        full = "ALL_" + name.removeprefix("USER_")
    grants = instance.store.grants
    if full not in _MAKERS or not grants.may_read_view(user, full):
        return None
    rows = _MAKERS[full](instance, context)
    columns = [_column(word) for word in VIEW_COLUMNS[full].split()]
    owner_column = OWNER_COLUMNS.get(full, "OWNER")
    if full != name:
        rows = [row for row in rows if row[owner_column] == context.settings.user]
        columns = [column for column in columns if column.name != owner_column]
    elif any(column.name == owner_column for column in columns):
        rows = [row for row in rows if grants.is_visible(user, str(row[owner_column]), _object_of(row))]
    relation = f"dictionary_{len(context.arrow)}"
    context.arrow[relation] = _arrow(rows, columns)
    return RelationView(relation, tuple(columns))


def _object_of(row: dict[str, Cell]) -> str:
    """The object that a dictionary row is about: an index or a constraint is visible to whoever sees its table."""
    names = ("TABLE_NAME", "VIEW_NAME", "SEQUENCE_NAME", "OBJECT_NAME", "NAME")
    return str(next((row[name] for name in names if row.get(name)), ""))


def _column(word: str) -> ColumnView:
    label, _, kind = word.partition(":")
    stored = "x_" + label.replace("#", "_no").lower()
    types: dict[str, SqlType] = {"N": _NUMBER, "D": DATE}
    return ColumnView(label, stored, types.get(kind) or varchar2(int(kind[1:])))


def _arrow(rows: Rows, columns: list[ColumnView]) -> pa.Table:
    return pa.table({c.stored: pa.array([_cell(row.get(c.name)) for row in rows], c.type.arrow) for c in columns})


def _cell(value: Cell) -> Cell:
    if value == "":
        return None
    if isinstance(value, int) and abs(value) >= 10**18:
        return 10**18 - 1
    if isinstance(value, dt.datetime):
        return value.replace(microsecond=0)
    return value
