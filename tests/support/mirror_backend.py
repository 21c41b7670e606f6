"""Our SQL engine behind seerdb's Mirror: the wire protocol as other authors understand it, with the same database."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from seerdb.server import Backend, BackendError, BindVar, ColumnMeta, Result, Server

from kpc.emulators.oracle.engine import EmulatedDatabase
from kpc.emulators.oracle.interface import Bind, OraColumn, OraError, OraType
from kpc.emulators.oracle.sql.types import decimals

_FIELD_VERSION_12 = 12
_NATIONAL, _DATABASE = 2, 1


class EngineBackend:
    """One session of the emulator's engine, for one session of the Mirror."""

    capabilities: frozenset[Any] = frozenset()

    def __init__(self, database: EmulatedDatabase) -> None:
        self._database = database
        self._session: Any = None

    def authenticate(self, username: str) -> str | None:
        password = self._database.password_of(username.upper())
        if password is not None:
            self._session = self._database.login(username.upper(), service=self._database.service_names[0])
        return password

    def execute(self, sql: str, binds: Sequence[object] = ()) -> Result:
        try:
            statement = self._session.prepare(sql)
            outcome = self._session.execute(statement, [[_bind(value) for value in binds]] if binds else [])
            if outcome.rows is None:
                out = [values[0] for _, values in sorted(outcome.out.items())]
                return Result(rowcount=outcome.row_count, out_binds=out)
            columns = outcome.rows.columns
            rows = [row for batch in outcome.rows.batches() for row in _rows_of(columns, batch)]
            return Result(columns=[_meta(column) for column in columns], rows=rows)
        except OraError as error:
            raise BackendError(error.message, ora_code=error.code) from error

    def commit(self) -> None:
        self._session.commit()

    def rollback(self) -> None:
        self._session.rollback()

    def close(self) -> None:
        if self._session is not None:
            self._session.close()


@contextmanager
def mirror(database: EmulatedDatabase) -> Iterator[str]:
    """The Mirror in a thread of this process; its connect string."""

    def backend(*_: object) -> Backend:
        made: Backend = EngineBackend(database)
        return made

    server = Server("127.0.0.1", 0, backend_factory=backend, field_version=_FIELD_VERSION_12)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.port}/{database.service_names[0]}"
    finally:
        server.close()
        thread.join(10)


def _bind(value: object) -> Bind:
    if isinstance(value, BindVar):
        return Bind(OraType(value.tns_type), None if value.value in (None, "") else _bind(value.value).value, 4000)
    if isinstance(value, str):
        return Bind(OraType.VARCHAR2, str(value) or None, max(len(value.encode()), 1))
    if isinstance(value, bytes):
        return Bind(OraType.RAW, value, len(value))
    if isinstance(value, dt.datetime):
        return Bind(OraType.TIMESTAMP, value)
    if isinstance(value, int | Decimal):
        return Bind(OraType.NUMBER, value)
    return Bind(OraType.VARCHAR2, None, 1)


def _meta(column: OraColumn) -> ColumnMeta:
    size = column.size or (22 if column.type is OraType.NUMBER else 13)
    form = _NATIONAL if column.is_national else _DATABASE
    return ColumnMeta(
        column.name.encode(), int(column.type), size, column.chars or size,
        csfrm=form, precision=column.precision, scale=column.scale, null_ok=int(column.nullable),
    )  # fmt: skip


def _rows_of(columns: Sequence[OraColumn], batch: Any) -> Iterator[tuple[object, ...]]:
    cells = [column.to_pylist() for column in batch.columns[: len(columns)]]
    for row in zip(*cells, strict=True):
        yield tuple(_plain(column, cell) for column, cell in zip(columns, row, strict=True))


def _plain(column: OraColumn, cell: object) -> object:
    if column.type is OraType.NUMBER and cell is not None:
        return decimals.decode(cell) if isinstance(cell, bytes) else Decimal(str(cell))
    if hasattr(cell, "to_pydatetime"):
        return cell.to_pydatetime(warn=False)
    return cell
