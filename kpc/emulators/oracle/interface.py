"""The interface between the wire side and the SQL side of the Oracle emulator.

The wire side (`wire`) turns bytes into calls on `ServedDatabase` and `DatabaseSession`; the SQL side (`engine`, `sql`)
answers with described columns and Arrow batches. Neither imports the other; both import this file.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Protocol

import pyarrow as pa

BindValue = None | str | bytes | int | Decimal | float | bool | dt.datetime | dt.timedelta


class OraError(Exception):
    """An ORA- error as a client sees it. `position` is the offset into the SQL text that `cursor.execute` reports.

    After a failing row of an array DML, `row_offset` is its index; `row_count` and `row_counts` say what the rows
    before it did.
    """

    def __init__(self, code: int, message: str, position: int = 0) -> None:
        super().__init__(f"ORA-{code:05d}: {message}")
        self.code = code
        self.message = message
        self.position = position
        self.row_offset = 0
        self.row_count = 0
        self.row_counts: list[int] = []


class OraType(IntEnum):
    """Type numbers of the wire protocol."""

    VARCHAR2 = 1
    NUMBER = 2
    LONG = 8
    ROWID = 11
    DATE = 12
    RAW = 23
    LONG_RAW = 24
    CHAR = 96
    BINARY_FLOAT = 100
    BINARY_DOUBLE = 101
    CURSOR = 102
    CLOB = 112
    BLOB = 113
    TIMESTAMP = 180
    TIMESTAMP_TZ = 181
    INTERVAL_YM = 182
    INTERVAL_DS = 183
    UROWID = 208
    TIMESTAMP_LTZ = 231
    BOOLEAN = 252


@dataclass(frozen=True, slots=True)
class OraColumn:
    """A described column.

    `size` is the length in bytes for text and RAW, `chars` the length in characters (0 for other types). Plain NUMBER
    has precision 0 and scale -127; FLOAT has its binary precision and scale -127; TIMESTAMP has its fractional digits
    in `scale`.
    `is_national` marks NCHAR, NVARCHAR2 and NCLOB.
    """

    name: str
    type: OraType
    precision: int = 0
    scale: int = 0
    size: int = 0
    chars: int = 0
    nullable: bool = True
    is_national: bool = False


@dataclass(frozen=True, slots=True)
class LobHome:
    """The row and column of a table that a LOB was read from; the numbers are the SQL side's own."""

    table: int
    row: int
    column: str


@dataclass(frozen=True, slots=True)
class LobColumn:
    """A result column that shows a table's LOB column. `rows_at`: which column of the batches holds the row numbers."""

    table: int
    column: str
    rows_at: int


class StatementKind(StrEnum):
    QUERY = "query"
    DML = "dml"
    DDL = "ddl"
    PLSQL = "plsql"
    TRANSACTION = "transaction"  # COMMIT, ROLLBACK, SAVEPOINT, ALTER SESSION, SET TRANSACTION ...


@dataclass(frozen=True, slots=True)
class Bind:
    """One bind position as the client declared it. `value` is decoded; '' has become None as in Oracle."""

    type: OraType
    value: BindValue
    size: int = 0
    is_out: bool = False


class Rows(Protocol):
    """An open query: described columns and the batches, produced lazily while the client fetches.

    The Arrow type of each column follows from its OraColumn:
    text (VARCHAR2, CHAR, LONG, CLOB) and ROWID -> pa.string or large_string (CHAR already blank-padded);
    NUMBER -> int64 | decimal128(38, s) | decimal256 | float64 | string (a decimal text) | binary (Oracle's own format,
    for values that no decimal type holds);
    BINARY_DOUBLE / BINARY_FLOAT -> float64 / float32; DATE -> timestamp[s]; TIMESTAMP* -> timestamp[ns] or [us]
    (TIMESTAMP_TZ and _LTZ in UTC); INTERVAL_DS -> duration[ns] or [us]; RAW, BLOB -> binary; BOOLEAN -> bool.
    """

    @property
    def columns(self) -> tuple[OraColumn, ...]: ...

    @property
    def lob_columns(self) -> Mapping[int, LobColumn]:
        """By position; the batches have columns with row numbers for them behind the described ones."""
        ...

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Up to 65,536 rows each. Raises OraError at the row where Oracle would; earlier batches stay valid."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class StatementCost:
    """What a query costs a database of the declared size: virtual seconds, of which `first_row_s` pass before the first
    row and `last_row_s` before the end, and bytes of TEMP. The emulator itself waits these seconds divided by `scale`.
    """

    first_row_s: float = 0.0
    last_row_s: float = 0.0
    temp_bytes: int = 0
    scale: int = 1


FREE = StatementCost()


@dataclass(slots=True)
class ExecutionOutcome:
    """The result of an execution: `rows` and `cost` of a query; `out` for PL/SQL OUT and RETURNING binds, by bind
    position; `row_counts` and `batch_errors` (offset, error) for array DML."""

    kind: StatementKind
    rows: Rows | None = None
    row_count: int = 0
    out: dict[int, list[BindValue]] = field(default_factory=dict)
    row_counts: list[int] = field(default_factory=list)
    lob_homes: dict[int, list[LobHome]] = field(default_factory=dict)  # of RETURNING, beside `out`
    last_rowid: str | None = None  # of the last row that DML changed
    batch_errors: list[tuple[int, OraError]] = field(default_factory=list)
    cost: StatementCost = FREE


class PreparedStatement(Protocol):
    """A parsed statement. `bind_names` has one entry per occurrence in SQL order (per unique name for PL/SQL)."""

    @property
    def kind(self) -> StatementKind: ...

    @property
    def bind_names(self) -> tuple[str, ...]: ...

    @property
    def sql(self) -> str: ...


class DatabaseSession(Protocol):
    """One logged-in session; used by one connection thread, except `interrupt`."""

    @property
    def user(self) -> str: ...

    @property
    def in_transaction(self) -> bool: ...

    def prepare(self, sql: str) -> PreparedStatement:
        """Parse and classify; OraError for what is not understood (ORA-00900 family) or not faithful (ORA-03001)."""
        ...

    def describe(self, statement: PreparedStatement) -> tuple[OraColumn, ...]:
        """The columns of a query, without running it; binds may be unset."""
        ...

    def execute(
        self,
        statement: PreparedStatement,
        rows: Sequence[Sequence[Bind]],
        *,
        batch_errors: bool = False,
        row_counts: bool = False,
    ) -> ExecutionOutcome:
        """Run with zero or more bind rows (more than one only for DML). DDL commits before and after, as in Oracle."""
        ...

    def write_lob(self, home: LobHome, content: str | bytes) -> None:
        """Give a LOB its new content. Raises ORA-22920 unless the open transaction holds the row."""
        ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def interrupt(self) -> None:
        """From another thread: the running call fails with OraError(1013)."""
        ...

    def set_attributes(self, **attributes: str | None) -> None:
        """module, action, client_identifier, client_info, current_schema ... for V$SESSION and SYS_CONTEXT."""
        ...

    def close(self) -> None:
        """Roll back and forget the session."""
        ...


class ServedDatabase(Protocol):
    """The database behind the listener."""

    @property
    def service_names(self) -> tuple[str, ...]: ...

    @property
    def version(self) -> tuple[int, ...]:
        """For example (19, 3, 0, 0, 0)."""
        ...

    def password_of(self, user: str) -> str | None:
        """The user's password, or None if there is no such user (upper-cased by the caller unless quoted)."""
        ...

    def login(self, user: str, *, service: str, program: str = "", machine: str = "") -> DatabaseSession:
        """Raises OraError (e.g. 28000 account locked, 18 too many sessions)."""
        ...

    def close(self) -> None: ...
