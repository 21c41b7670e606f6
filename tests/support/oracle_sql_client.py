"""A small client of the emulator's SQL side: it calls a Session directly, without the wire."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from kpc.emulators.oracle.engine import EmulatedDatabase, open_database
from kpc.emulators.oracle.interface import Bind, ExecutionOutcome, OraColumn, OraError, OraType
from kpc.emulators.oracle.sql.types import decimals


def bind(value: object) -> Bind:  # noqa: PLR0911  one return per type
    """The bind that a driver makes of a Python value."""
    match value:
        case Bind():
            return value
        case str():
            return Bind(OraType.VARCHAR2, value, max(len(value.encode()), 1))
        case bytes():
            return Bind(OraType.RAW, value, len(value))
        case dt.datetime():
            return Bind(OraType.TIMESTAMP, value)
        case int() | Decimal():
            return Bind(OraType.NUMBER, value)
        case float():
            return Bind(OraType.BINARY_DOUBLE, value)
        case _:
            return Bind(OraType.VARCHAR2, None, 1)


def out(kind: OraType, size: int = 4000) -> Bind:
    return Bind(kind, None, size, is_out=True)


class Client:
    """One session; numbers come back as Decimal, whatever Arrow type carried them."""

    def __init__(self, database: EmulatedDatabase, user: str = "KPS") -> None:
        self.database = database
        self.session = database.login(user, service="KPCDB", program="tests", machine="here")

    def execute(self, sql: str, *rows: tuple[object, ...], **options: bool) -> ExecutionOutcome:
        statement = self.session.prepare(sql)
        return self.session.execute(statement, [[bind(value) for value in row] for row in rows], **options)

    def rows(self, sql: str, *binds: object) -> list[tuple[Any, ...]]:
        outcome = self.execute(sql, *([binds] if binds else []))
        assert outcome.rows is not None
        kinds = [column.type for column in outcome.rows.columns]
        found = []
        for batch in outcome.rows.batches():
            columns = [column.to_pylist() for column in batch.columns[: len(kinds)]]
            found += [
                tuple(_value(kind, cell) for kind, cell in zip(kinds, cells, strict=True))
                for cells in zip(*columns, strict=True)
            ]
        return found

    def one(self, sql: str, *binds: object) -> Any:
        """The only value of the only row."""
        ((value,),) = self.rows(sql, *binds)
        return value

    def describe(self, sql: str) -> tuple[OraColumn, ...]:
        return self.session.describe(self.session.prepare(sql))

    def error(self, sql: str, *rows: tuple[object, ...]) -> OraError:
        """The error that the statement ends in, at execute or while rows are fetched."""
        try:
            outcome = self.execute(sql, *rows)
            if outcome.rows is not None:
                list(outcome.rows.batches())
        except OraError as error:
            return error
        raise AssertionError(f"no error from {sql}")


def _value(kind: OraType, cell: object) -> object:
    if cell is None:
        return None
    if kind is OraType.NUMBER:
        return decimals.decode(cell) if isinstance(cell, bytes) else Decimal(str(cell))
    if kind in (OraType.DATE, OraType.TIMESTAMP) and hasattr(cell, "to_pydatetime"):
        return cell.to_pydatetime(warn=False)
    return cell


def empty_database() -> EmulatedDatabase:
    return open_database(user="kps", password="secret")
