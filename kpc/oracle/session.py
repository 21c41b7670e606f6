"""Sessions that read rows and Arrow batches with exact decimals; labelled for the DBA and always closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import oracledb
import pyarrow as pa

from kpc.errors import ConfigError
from kpc.oracle.connection import connect
from kpc.oracle.failures import OperationContext, TimeLimit, explained
from kpc.oracle.statement import Statement
from kpc.settings import OracleSettings

MODULE = "kpc-migration"
# Text is compared and sorted by its bytes, whatever the database's default: key ranges depend on it.
_BINARY_ORDER = "ALTER SESSION SET NLS_SORT = BINARY NLS_COMP = BINARY"
_IDENTITY = Statement('SELECT DBID, "RESETLOGS_CHANGE#" FROM V$DATABASE')
_CURRENT_SCN = Statement("SELECT CURRENT_SCN FROM V$DATABASE")
_COLUMNS = (
    "SELECT COLUMN_NAME, DATA_TYPE, DATA_LENGTH, CHAR_LENGTH, DATA_PRECISION, DATA_SCALE FROM ALL_TAB_COLUMNS "
    "WHERE OWNER = :owner AND TABLE_NAME = :table_name ORDER BY COLUMN_ID"
)


class DictionaryColumn(NamedTuple):
    """A row of ALL_TAB_COLUMNS."""

    name: str
    data_type: str
    data_length: int
    char_length: int | None
    precision: int | None
    scale: int | None


class ReadSession:
    """One session. Driver errors are converted to the migration's own (`kpc.oracle.failures`) and name its table."""

    def __init__(self, connection: oracledb.Connection, oracle: Oracle, table: str, limit: TimeLimit) -> None:
        self._connection = connection
        self._oracle = oracle
        self._table = table
        self._limit = limit

    def row(self, statement: Statement) -> tuple[Any, ...]:
        """The only row of the answer. Numbers are `Decimal`."""
        (row,) = self.rows(statement)
        return row

    def rows(self, statement: Statement) -> Iterator[tuple[Any, ...]]:
        """The rows of the answer, fetched as they are consumed. Numbers are `Decimal`."""
        yield from self._fetched(statement, self._table)

    def arrow_batches(self, statement: Statement, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
        """The answer in batches of at most `rows` rows and exactly this schema; empty batches are left out.

        A batch's memory is free before the next one is fetched, if the caller does not keep it (`del batch`).
        Raises `Terminal` where a number does not fit its decimal type: nothing is rounded.
        """
        with explained(self._oracle.operation(self._table, self._limit)):
            for frame in self._connection.fetch_df_batches(
                statement.text, statement.binds, size=rows, fetch_decimals=True, requested_schema=schema
            ):
                # Not pa.table(frame): that imports pandas to check whether the frame is a pandas one.
                batches = [batch for batch in pa.RecordBatchReader.from_stream(frame) if batch.num_rows]
                del frame  # otherwise it would be held while the driver fills the next one
                while batches:
                    yield _with_schema(batches.pop(0), schema)

    def columns(self, table: str) -> list[DictionaryColumn]:
        """The table's columns in the dictionary, in order; empty if the user may not see the table."""
        statement = Statement(_COLUMNS, {"owner": self._oracle.owner, "table_name": table})
        return [DictionaryColumn(*row) for row in self._fetched(statement, "ALL_TAB_COLUMNS")]

    def dictionary(self, statement: Statement) -> Iterator[tuple[Any, ...]]:
        """The rows of a query of the dictionary."""
        yield from self._fetched(statement, "ALL_TABLES")

    def _fetched(self, statement: Statement, table: str) -> Iterator[tuple[Any, ...]]:
        with explained(self._oracle.operation(table, self._limit)), self._connection.cursor() as cursor:
            cursor.execute(statement.text, statement.binds, fetch_decimals=True)
            yield from cursor


@dataclass(frozen=True, slots=True)
class Oracle:
    """The source database named in the settings."""

    settings: OracleSettings

    @property
    def owner(self) -> str:
        """The schema of the tables."""
        return (self.settings.owner or self.settings.user).upper()

    @contextmanager
    def session(self, action: str, table: str = "", *, scans: bool = False, patience: int = 1) -> Iterator[ReadSession]:
        """A session whose module and action show a DBA in V$SESSION what it does; `table` is the table it reads.

        Each call may take `call_timeout_s`, or `scan_timeout_s` if a statement `scans` a whole table before it answers;
        `patience` times as long. Then `CallTimedOut` is raised.

        Raises `ConfigError` for wrong credentials or addresses and `OracleDown` for a silent or unreachable listener,
        the latter after `connect_timeout_s` at most.
        """
        connection = connect(self.settings)
        try:
            limit = TimeLimit("SCAN_TIMEOUT_S" if scans else "CALL_TIMEOUT_S", self._limit_s(scans=scans) * patience)
            connection.call_timeout = int(limit.seconds * 1000)
            with explained(self.operation()), connection.cursor() as cursor:
                cursor.execute(_BINARY_ORDER)
            connection.module = MODULE
            connection.action = action[:64]
            yield ReadSession(connection, self, table, limit)
        finally:
            with suppress(oracledb.Error):
                connection.close()

    def _limit_s(self, *, scans: bool) -> float:
        return self.settings.scan_timeout_s if scans else self.settings.call_timeout_s

    def operation(self, table: str = "", limit: TimeLimit | None = None) -> OperationContext:
        """The context for errors of a statement that reads `table`."""
        is_dictionary = table.startswith(("V$", "ALL_"))
        name = table if is_dictionary or not table else f"{self.owner}.{table}"
        return OperationContext(self.settings.dsn, self.settings.user, name, limit)

    def identity(self) -> str:
        """Database id and incarnation: they distinguish it from its clones and from its state before a RESETLOGS."""
        with self.session("identity", "V$DATABASE") as session:
            found = list(session.rows(_IDENTITY))
        if not found:
            raise ConfigError("V$DATABASE has no row.", "Ask the DBA; this database cannot be read.")
        database_id, incarnation = found[0]
        return f"ora-{int(database_id)}-{int(incarnation)}"

    def current_scn(self) -> int:
        """The SCN as of which the database can be read now."""
        with self.session("current scn", "V$DATABASE") as session:
            (scn,) = session.row(_CURRENT_SCN)
        return int(scn)


def _with_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return batch if batch.schema.equals(schema) else batch.cast(schema)
