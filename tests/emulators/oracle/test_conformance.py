"""Statements with the answers that Oracle documents, asked of the emulator, or of the database in ORACLE_TEST_...

`conformance/oracle.jsonl`: a line of set-up statements, then one case per line: `sql`, its `binds`, statements to run
`before` it in the same transaction, and what it must give: `rows` (as text, see `shown`) and optionally the described
`columns`, or the `error` code, or the `affected` rows. Every case is rolled back. `emulator` says what the emulator is
known to give instead, mostly the refusal 3001: when it learns better, the case fails until that remark is taken out.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import oracledb
import pytest
from oracle_source import OracleServer
from parameter_ids import short

_FILE = Path(__file__).with_name("conformance") / "oracle.jsonl"
_SETUP, *CASES = [json.loads(line) for line in _FILE.read_text().splitlines()]
_SESSION = (
    "ALTER SESSION SET NLS_LANGUAGE = 'AMERICAN' NLS_TERRITORY = 'AMERICA' NLS_NUMERIC_CHARACTERS = '.,'",
    "ALTER SESSION SET NLS_DATE_FORMAT = 'DD-MON-RR' NLS_SORT = 'BINARY' NLS_COMP = 'BINARY'",
    "ALTER SESSION SET TIME_ZONE = '+00:00'",
)
_PLAIN_SCALE = -127


def _drop_all(cursor: oracledb.Cursor) -> None:
    for statement in _SETUP["setup"]:
        made = re.match(r"CREATE (TABLE|SEQUENCE) (\w+)", statement)
        if made:
            with contextlib.suppress(oracledb.DatabaseError):
                cursor.execute(f"DROP {made[1]} {made[2]}" + (" PURGE" if made[1] == "TABLE" else ""))


@pytest.fixture(scope="module")
def connection(oracle: OracleServer) -> Iterator[oracledb.Connection]:
    """One session whose formats are set, over the tables of the set-up."""
    with oracle.connect() as connection, connection.cursor() as cursor:
        for statement in _SESSION:
            cursor.execute(statement)
        _drop_all(cursor)
        for statement in _SETUP["setup"]:
            cursor.execute(statement)
        connection.commit()
        yield connection
        connection.rollback()
        _drop_all(cursor)


@pytest.fixture(scope="module")
def is_emulator(connection: oracledb.Connection) -> bool:
    """V$VERSION says so where it is one."""
    (banner,) = connection.cursor().execute("SELECT MAX(BANNER_FULL) FROM V$VERSION").fetchone()
    return "emulator" in banner


def bound(given: Any) -> Any:
    """A bind of the file as a Python value: text, NULL, or {"number" | "date" | "raw": text}."""
    if isinstance(given, list):
        return [bound(each) for each in given]
    match given:
        case {"number": text}:
            return Decimal(text)
        case {"date": text}:
            return dt.datetime.fromisoformat(text)
        case {"raw": text}:
            return bytes.fromhex(text)
    return given


def shown(value: object) -> str | None:  # noqa: PLR0911 - one per type
    """A fetched value as the file writes it: numbers without exponent and without zeros at the end, RAW in hex."""
    match value:
        case None:
            return None
        case bool() | str() | dt.timedelta():
            return str(value)
        case int() | Decimal():
            text = format(Decimal(value), "f")
            text = text.rstrip("0").rstrip(".") if "." in text else text
            return "0" if text == "-0" else text
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case oracledb.LOB():
            return str(value.read())
        case bytes():
            return value.hex()
        case dt.datetime():
            return value.isoformat(" ")
    raise AssertionError(type(value))


def described(column: oracledb.FetchInfo) -> str:
    """`NAME TYPE(size | precision,scale) [NOT NULL]`."""
    kind = column.type_code.name.removeprefix("DB_TYPE_")
    kind = {"VARCHAR": "VARCHAR2"}.get(kind, kind)
    if kind in {"VARCHAR2", "CHAR", "NVARCHAR", "NCHAR", "RAW"}:
        kind += f"({column.display_size if kind != 'RAW' else column.internal_size})"
    elif kind == "NUMBER" and column.precision:
        is_float = column.scale == _PLAIN_SCALE
        kind = f"FLOAT({column.precision})" if is_float else f"NUMBER({column.precision},{column.scale})"
    elif kind == "TIMESTAMP":
        kind += f"({column.scale})"
    return f"{column.name} {kind}{'' if column.null_ok else ' NOT NULL'}"


def run(cursor: oracledb.Cursor, case: dict[str, Any]) -> dict[str, Any]:
    """What the statement gave, with the keys that the case has."""
    for statement in case.get("before", ()):
        cursor.execute(statement)
    try:
        cursor.execute(case["sql"], bound(case.get("binds", [])), fetch_decimals=True)
        if cursor.description is None:
            return {"affected": cursor.rowcount}
        columns = [described(column) for column in cursor.description]
        rows = [[shown(value) for value in row] for row in cursor]
    except oracledb.DatabaseError as error:
        return {"error": error.args[0].code, "text": str(error).splitlines()[0]}
    return {"rows": rows, "columns": columns}


@pytest.mark.parametrize("case", CASES, ids=[short(f"{case['group']}: {case['sql']}", 70) for case in CASES])
def test_a_statement_gives_what_oracle_documents(
    connection: oracledb.Connection, is_emulator: bool, case: dict[str, Any]
) -> None:
    """Rows and description, rows affected, or the ORA code."""
    with connection.cursor() as cursor:
        try:
            given = run(cursor, case)
        finally:
            connection.rollback()
    expected = case.get("emulator", case) if is_emulator else case
    for what in ("rows", "columns", "error", "affected"):
        if what in expected:
            assert given.get(what) == expected[what], given.get("text", "")


def test_the_file_is_worth_its_name() -> None:
    """Several hundred statements, no two alike, each with something to compare."""
    keys = [json.dumps([case["sql"], case.get("binds"), case.get("before")]) for case in CASES]
    assert len(keys) == len(set(keys)) > 500
    assert all({"rows", "error", "affected"} & case.keys() for case in CASES)
    assert sum("columns" in case for case in CASES) > 40
    differing = [case for case in CASES if "emulator" in case]
    assert all(case["emulator"] == {"error": 3001} or "why" in case["emulator"] for case in differing)
    assert len(differing) < len(CASES) // 10
