"""The data dictionary and V$ views, computed when they are asked for.

Each view is a small Arrow table made from the store's objects. ALL_ views have OWNER; their USER_ twins leave it out
and show the session's own schema; DBA_ is not granted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa

from kpc.emulators.oracle.sql.context import ColumnView, Context, RelationView
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
from kpc.emulators.oracle.sql.types import datatypes
from kpc.emulators.oracle.sql.types.datatypes import DATE, SqlType, varchar2

if TYPE_CHECKING:
    from kpc.emulators.oracle.engine import EmulatedDatabase

Cell = str | int | dt.datetime | None
Rows = list[dict[str, Cell]]
Maker = Callable[["EmulatedDatabase", Context], Rows]

_NUMBER = datatypes.free_number(18, 0)

# View -> its columns. T text, N number, D date; the number after T is the length.
_COLUMNS: dict[str, str] = {
    "V$DATABASE": "DBID:N NAME:T9 CREATED:D RESETLOGS_CHANGE#:N RESETLOGS_TIME:D LOG_MODE:T12 CHECKPOINT_CHANGE#:N "
    "CURRENT_SCN:N "
    "OPEN_MODE:T20 DATABASE_ROLE:T16 PLATFORM_NAME:T101 FLASHBACK_ON:T18 DB_UNIQUE_NAME:T30 "
    "SUPPLEMENTAL_LOG_DATA_MIN:T8 CDB:T3",
    "V$VERSION": "BANNER:T80 BANNER_FULL:T160 BANNER_LEGACY:T80 CON_ID:N",
    "V$INSTANCE": "INSTANCE_NUMBER:N INSTANCE_NAME:T16 HOST_NAME:T64 VERSION:T17 VERSION_FULL:T17 STARTUP_TIME:D "
    "STATUS:T12 "
    "PARALLEL:T3 THREAD#:N ARCHIVER:T7 LOGINS:T10 SHUTDOWN_PENDING:T3 DATABASE_STATUS:T17 INSTANCE_ROLE:T18 "
    "ACTIVE_STATE:T9",
    "V$SESSION": "SID:N SERIAL#:N AUDSID:N USER#:N USERNAME:T128 STATUS:T8 SERVER:T9 SCHEMANAME:T128 OSUSER:T128 "
    "PROCESS:T24 "
    "MACHINE:T64 TERMINAL:T30 PROGRAM:T48 TYPE:T10 MODULE:T64 ACTION:T64 CLIENT_INFO:T64 CLIENT_IDENTIFIER:T64 "
    "LOGON_TIME:D SERVICE_NAME:T64",
    "V$NLS_PARAMETERS": "PARAMETER:T64 VALUE:T64",
    "NLS_DATABASE_PARAMETERS": "PARAMETER:T128 VALUE:T64",
    "NLS_SESSION_PARAMETERS": "PARAMETER:T30 VALUE:T64",
    "NLS_INSTANCE_PARAMETERS": "PARAMETER:T30 VALUE:T64",
    "SESSION_PRIVS": "PRIVILEGE:T40",
    "SESSION_ROLES": "ROLE:T128",
    "USER_ROLE_PRIVS": "USERNAME:T128 GRANTED_ROLE:T128 ADMIN_OPTION:T3 DEFAULT_ROLE:T3",
    "PRODUCT_COMPONENT_VERSION": "PRODUCT:T80 VERSION:T80 VERSION_FULL:T80 STATUS:T80",
    "GLOBAL_NAME": "GLOBAL_NAME:T128",
    "ALL_USERS": "USERNAME:T128 USER_ID:N CREATED:D COMMON:T3",
    "USER_USERS": "USERNAME:T128 USER_ID:N ACCOUNT_STATUS:T32 CREATED:D DEFAULT_TABLESPACE:T30",
    "ALL_TABLES": "OWNER:T128 TABLE_NAME:T128 TABLESPACE_NAME:T30 STATUS:T8 NUM_ROWS:N BLOCKS:N AVG_ROW_LEN:N "
    "PARTITIONED:T3 "
    "TEMPORARY:T1 IOT_NAME:T128 IOT_TYPE:T12 DURATION:T15 "
    "COMPRESSION:T8 COMPRESS_FOR:T30 LAST_ANALYZED:D DEGREE:T10 NESTED:T3 DROPPED:T3",
    "ALL_TAB_COLUMNS": "OWNER:T128 TABLE_NAME:T128 COLUMN_NAME:T128 DATA_TYPE:T128 DATA_TYPE_OWNER:T128 "
    "DATA_LENGTH:N DATA_PRECISION:N "
    "DATA_SCALE:N NULLABLE:T1 COLUMN_ID:N DEFAULT_LENGTH:N DATA_DEFAULT:T4000 NUM_DISTINCT:N "
    "CHARACTER_SET_NAME:T44 CHAR_COL_DECL_LENGTH:N "
    "CHAR_LENGTH:N CHAR_USED:T1 HIDDEN_COLUMN:T3 VIRTUAL_COLUMN:T3 DEFAULT_ON_NULL:T3 IDENTITY_COLUMN:T3",
    "ALL_CONSTRAINTS": "OWNER:T128 CONSTRAINT_NAME:T128 CONSTRAINT_TYPE:T1 TABLE_NAME:T128 SEARCH_CONDITION:T4000 "
    "R_OWNER:T128 "
    "R_CONSTRAINT_NAME:T128 DELETE_RULE:T9 STATUS:T8 DEFERRABLE:T14 DEFERRED:T9 VALIDATED:T13 GENERATED:T14 "
    "INDEX_OWNER:T128 INDEX_NAME:T128",
    "ALL_CONS_COLUMNS": "OWNER:T128 CONSTRAINT_NAME:T128 TABLE_NAME:T128 COLUMN_NAME:T4000 POSITION:N",
    "ALL_INDEXES": "OWNER:T128 INDEX_NAME:T128 INDEX_TYPE:T27 TABLE_OWNER:T128 TABLE_NAME:T128 TABLE_TYPE:T11 "
    "UNIQUENESS:T9 COMPRESSION:T13 PREFIX_LENGTH:N STATUS:T8 PARTITIONED:T3 GENERATED:T1 VISIBILITY:T9",
    "ALL_IND_COLUMNS": "INDEX_OWNER:T128 INDEX_NAME:T128 TABLE_OWNER:T128 TABLE_NAME:T128 COLUMN_NAME:T4000 "
    "COLUMN_POSITION:N DESCEND:T4",
    "ALL_OBJECTS": "OWNER:T128 OBJECT_NAME:T128 SUBOBJECT_NAME:T128 OBJECT_ID:N DATA_OBJECT_ID:N OBJECT_TYPE:T23 "
    "CREATED:D LAST_DDL_TIME:D "
    "TIMESTAMP:T19 STATUS:T7 TEMPORARY:T1 GENERATED:T1",
    "ALL_VIEWS": "OWNER:T128 VIEW_NAME:T128 TEXT_LENGTH:N TEXT:T4000",
    "ALL_SEQUENCES": "SEQUENCE_OWNER:T128 SEQUENCE_NAME:T128 MIN_VALUE:N MAX_VALUE:N INCREMENT_BY:N CYCLE_FLAG:T1 "
    "ORDER_FLAG:T1 CACHE_SIZE:N LAST_NUMBER:N",
    "ALL_TAB_COMMENTS": "OWNER:T128 TABLE_NAME:T128 TABLE_TYPE:T11 COMMENTS:T4000",
    "ALL_COL_COMMENTS": "OWNER:T128 TABLE_NAME:T128 COLUMN_NAME:T128 COMMENTS:T4000",
    "ALL_TAB_PARTITIONS": "TABLE_OWNER:T128 TABLE_NAME:T128 PARTITION_NAME:T128 PARTITION_POSITION:N NUM_ROWS:N",
    "ALL_TAB_IDENTITY_COLS": "OWNER:T128 TABLE_NAME:T128 COLUMN_NAME:T128 GENERATION_TYPE:T10 SEQUENCE_NAME:T128 "
    "IDENTITY_OPTIONS:T298",
    "ALL_IND_EXPRESSIONS": "INDEX_OWNER:T128 INDEX_NAME:T128 TABLE_OWNER:T128 TABLE_NAME:T128 "
    "COLUMN_EXPRESSION:T4000 COLUMN_POSITION:N",
    "ALL_MVIEWS": "OWNER:T128 MVIEW_NAME:T128 CONTAINER_NAME:T128 QUERY:T4000 REFRESH_MODE:T9 REFRESH_METHOD:T8",
    "ALL_MVIEW_COMMENTS": "OWNER:T128 MVIEW_NAME:T128 COMMENTS:T4000",
    "ALL_DB_LINKS": "OWNER:T128 DB_LINK:T128 USERNAME:T128 HOST:T2000 CREATED:D",
    "ALL_SYNONYMS": "OWNER:T128 SYNONYM_NAME:T128 TABLE_OWNER:T128 TABLE_NAME:T128 DB_LINK:T128",
}

_OWNER_COLUMNS = {
    "ALL_SEQUENCES": "SEQUENCE_OWNER",
    "ALL_IND_COLUMNS": "INDEX_OWNER",
    "ALL_IND_EXPRESSIONS": "INDEX_OWNER",
    "ALL_TAB_PARTITIONS": "TABLE_OWNER",
}


def _database(database: EmulatedDatabase, context: Context) -> Rows:
    started = database.started_utc
    return [
        {
            "DBID": database.database_id, "NAME": database.name, "CREATED": started, "RESETLOGS_CHANGE#": 1,
            "RESETLOGS_TIME": started,
            "LOG_MODE": "ARCHIVELOG", "CHECKPOINT_CHANGE#": context.scn, "CURRENT_SCN": context.scn,
            "OPEN_MODE": "READ WRITE",
            "DATABASE_ROLE": "PRIMARY", "PLATFORM_NAME": "Emulator", "FLASHBACK_ON": "NO",
            "DB_UNIQUE_NAME": database.name,
            "SUPPLEMENTAL_LOG_DATA_MIN": "NO", "CDB": "NO",
        }
    ]  # fmt: skip


def _version(database: EmulatedDatabase, context: Context) -> Rows:
    full = f"{environment.BANNER} (KPC emulator)\nVersion {environment.VERSION}"
    return [{"BANNER": environment.BANNER, "BANNER_FULL": full, "BANNER_LEGACY": environment.BANNER, "CON_ID": 0}]


def _instance(database: EmulatedDatabase, context: Context) -> Rows:
    return [
        {
            "INSTANCE_NUMBER": 1, "INSTANCE_NAME": environment.INSTANCE, "HOST_NAME": environment.HOST,
            "VERSION": "19.0.0.0.0",
            "VERSION_FULL": environment.VERSION, "STARTUP_TIME": database.started_utc, "STATUS": "OPEN",
            "PARALLEL": "NO", "THREAD#": 1,
            "ARCHIVER": "STARTED", "LOGINS": "ALLOWED", "SHUTDOWN_PENDING": "NO", "DATABASE_STATUS": "ACTIVE",
            "INSTANCE_ROLE": "PRIMARY_INSTANCE", "ACTIVE_STATE": "NORMAL",
        }
    ]  # fmt: skip


def _sessions(database: EmulatedDatabase, context: Context) -> Rows:
    rows: Rows = []
    for session in list(database.sessions.values()):
        s, attributes = session.settings, session.settings.attributes
        active = s.session_id == context.settings.session_id
        rows.append(
            {
                "SID": s.session_id, "SERIAL#": s.serial, "AUDSID": s.session_id, "USER#": 100, "USERNAME": s.user,
                "STATUS": "ACTIVE" if active else "INACTIVE", "SERVER": "DEDICATED", "SCHEMANAME": s.schema,
                "OSUSER": attributes.get("osuser"),
                "PROCESS": None, "MACHINE": s.machine or None, "TERMINAL": attributes.get("terminal"),
                "PROGRAM": s.program or None, "TYPE": "USER",
                "MODULE": attributes.get("module") or s.program or None, "ACTION": attributes.get("action"),
                "CLIENT_INFO": attributes.get("client_info"), "CLIENT_IDENTIFIER": attributes.get("client_identifier"),
                "LOGON_TIME": session.logged_on_utc, "SERVICE_NAME": s.service,
            }
        )  # fmt: skip
    return rows


_NLS = {
    "NLS_LANGUAGE": "AMERICAN", "NLS_TERRITORY": "AMERICA", "NLS_CURRENCY": "$", "NLS_ISO_CURRENCY": "AMERICA",
    "NLS_NUMERIC_CHARACTERS": ".,",
    "NLS_CALENDAR": "GREGORIAN", "NLS_DATE_FORMAT": "DD-MON-RR", "NLS_DATE_LANGUAGE": "AMERICAN",
    "NLS_SORT": "BINARY", "NLS_TIME_FORMAT": "HH.MI.SSXFF AM",
    "NLS_TIMESTAMP_FORMAT": "DD-MON-RR HH.MI.SSXFF AM", "NLS_TIME_TZ_FORMAT": "HH.MI.SSXFF AM TZR",
    "NLS_TIMESTAMP_TZ_FORMAT": "DD-MON-RR HH.MI.SSXFF AM TZR", "NLS_DUAL_CURRENCY": "$", "NLS_COMP": "BINARY",
    "NLS_LENGTH_SEMANTICS": "BYTE",
    "NLS_NCHAR_CONV_EXCP": "FALSE",
}  # fmt: skip
_CHARACTER_SETS = {
    "NLS_CHARACTERSET": "AL32UTF8",
    "NLS_NCHAR_CHARACTERSET": "AL16UTF16",
    "NLS_RDBMS_VERSION": environment.VERSION,
}


def _nls(database: EmulatedDatabase, context: Context) -> Rows:
    return [{"PARAMETER": name, "VALUE": value} for name, value in {**_NLS, **_CHARACTER_SETS}.items()]


def _session_nls(database: EmulatedDatabase, context: Context) -> Rows:
    s = context.settings
    own = {
        "NLS_DATE_FORMAT": s.date_format,
        "NLS_TIMESTAMP_FORMAT": s.timestamp_format,
        "NLS_TIMESTAMP_TZ_FORMAT": s.timestamp_tz_format,
    }
    return [{"PARAMETER": name, "VALUE": value} for name, value in {**_NLS, **own}.items()]


def _v_nls(database: EmulatedDatabase, context: Context) -> Rows:
    character_sets: Rows = [{"PARAMETER": k, "VALUE": v} for k, v in list(_CHARACTER_SETS.items())[:2]]
    return _session_nls(database, context) + character_sets


def _session_privileges(database: EmulatedDatabase, context: Context) -> Rows:
    held = database.store.grants.users.get(context.settings.user)
    return [{"PRIVILEGE": privilege} for privilege in sorted(held.privileges if held else ())]


def _users(database: EmulatedDatabase, context: Context) -> Rows:
    return [
        {
            "USERNAME": user,
            "USER_ID": 100 + i,
            "CREATED": database.started_utc,
            "COMMON": "NO",
            "ACCOUNT_STATUS": "LOCKED" if database.store.grants.users[user].is_locked else "OPEN",
            "DEFAULT_TABLESPACE": "USERS",
        }
        for i, user in enumerate(database.users())
        if user
    ]


_MAKERS: dict[str, Maker] = {
    "V$DATABASE": _database,
    "V$VERSION": _version,
    "V$INSTANCE": _instance,
    "V$SESSION": _sessions,
    "V$NLS_PARAMETERS": _v_nls,
    "NLS_DATABASE_PARAMETERS": _nls,
    "NLS_SESSION_PARAMETERS": _session_nls,
    "NLS_INSTANCE_PARAMETERS": _nls,
    "SESSION_PRIVS": _session_privileges,
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
    "ALL_USERS": _users,
    "USER_USERS": lambda d, c: [row for row in _users(d, c) if row["USERNAME"] == c.settings.user],
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
    "ALL_TAB_PARTITIONS": lambda d, c: [],
    "ALL_TAB_IDENTITY_COLS": lambda d, c: identity_rows(d.store),
    "ALL_IND_EXPRESSIONS": lambda d, c: index_expression_rows(d.store),
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
    owner: str | None, name: str, database: EmulatedDatabase, context: Context, user: str
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
    grants = database.store.grants
    if full not in _MAKERS or not grants.may_read_view(user, full):
        return None
    rows = _MAKERS[full](database, context)
    columns = [_column(word) for word in _COLUMNS[full].split()]
    owner_column = _OWNER_COLUMNS.get(full, "OWNER")
    if full != name:
        rows = [row for row in rows if row[owner_column] == context.settings.user]
        columns = [column for column in columns if column.name != owner_column]
    elif any(column.name == owner_column for column in columns):
        rows = [row for row in rows if grants.is_visible(user, str(row[owner_column]), _object_of(row))]
    relation = f"dictionary_{len(context.arrow)}"
    context.arrow[relation] = _arrow(rows, columns)
    return RelationView(relation, tuple(columns))


def _object_of(row: dict[str, Cell]) -> str:
    """The object that a dictionary row is about: an index or a constraint is seen by who sees its table."""
    names = ("TABLE_NAME", "VIEW_NAME", "SEQUENCE_NAME", "OBJECT_NAME")
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
