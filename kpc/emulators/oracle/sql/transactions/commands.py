"""COMMIT, ROLLBACK, SAVEPOINT, SET TRANSACTION, LOCK TABLE and ALTER SESSION."""

from __future__ import annotations

from kpc.emulators.oracle.interface import ExecutionOutcome, StatementKind
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.parsing.grammar import ParsedStatement
from kpc.emulators.oracle.sql.parsing.lexer import Kind, SqlToken
from kpc.emulators.oracle.sql.transactions.transaction import Transaction
from kpc.emulators.oracle.sql.types import masks, time_zone
from kpc.emulators.oracle.sql.types.time_zone import TimeZone
from kpc.emulators.oracle.sql.workspace import StatementWorkspace


def execute(workspace: StatementWorkspace, statement: ParsedStatement) -> ExecutionOutcome:
    words = [token.value for token in statement.tokens if not token.is_sign(";")]
    match words:
        case ["COMMIT", *rest] if set(rest) <= {"WORK", "WRITE", "WAIT", "NOWAIT", "IMMEDIATE", "BATCH"}:
            workspace.transaction.commit()
        case ["ROLLBACK"] | ["ROLLBACK", "WORK"]:
            workspace.transaction.rollback()
        case ["ROLLBACK", *rest] if "TO" in rest[:2]:
            workspace.transaction.rollback_to(words[-1])
        case ["SAVEPOINT", name]:
            workspace.transaction.savepoint(name)
        case ["SET", "TRANSACTION", *rest]:
            _set_transaction(workspace.transaction, rest)
        case ["ALTER", "SESSION", "SET", *_]:
            _alter_session(workspace, statement.tokens[3:])
        case ["ALTER", "SESSION", *_]:
            raise unsupported("this ALTER SESSION")
        case ["SET", "ROLE", *_] | ["SET", "CONSTRAINT", *_] | ["SET", "CONSTRAINTS", *_] | ["LOCK", *_]:
            raise unsupported(" ".join(words[:3]))
        case _:
            raise ora(900)
    return ExecutionOutcome(StatementKind.TRANSACTION)


def _set_transaction(transaction: Transaction, words: list[str]) -> None:
    if transaction.is_open:
        raise ora(1453)
    if words[:2] == ["READ", "WRITE"] or words[:1] == ["NAME"] or words == ["ISOLATION", "LEVEL", "READ", "COMMITTED"]:
        return
    raise unsupported(f"SET TRANSACTION {' '.join(words)}")


# Accepted without effect: tuning, or settings that already apply here.
_NEUTRAL = frozenset(
    {
        "OPTIMIZER_MODE", "PARALLEL_DEGREE_POLICY", "CURSOR_SHARING", "STATISTICS_LEVEL", "DDL_LOCK_TIMEOUT",
        "PLSQL_WARNINGS",
        "OPTIMIZER_GOAL", "SQL_TRACE", "TRACEFILE_IDENTIFIER", "RECYCLEBIN", "COMMIT_WRITE", "COMMIT_LOGGING",
        "COMMIT_WAIT", "NLS_CURRENCY", "NLS_ISO_CURRENCY", "NLS_DUAL_CURRENCY", "NLS_TIME_FORMAT", "NLS_TIME_TZ_FORMAT",
    }
)  # fmt: skip
_FIXED = {
    "NLS_LANGUAGE": "AMERICAN",
    "NLS_TERRITORY": "AMERICA",
    "NLS_SORT": "BINARY",
    "NLS_COMP": "BINARY",
    "NLS_CALENDAR": "GREGORIAN",
    "NLS_DATE_LANGUAGE": "AMERICAN",
    "NLS_NUMERIC_CHARACTERS": ".,",
    "NLS_LENGTH_SEMANTICS": "BYTE",
}
_FORMATS = {
    "NLS_DATE_FORMAT": "date_format",
    "NLS_TIMESTAMP_FORMAT": "timestamp_format",
    "NLS_TIMESTAMP_TZ_FORMAT": "timestamp_tz_format",
}


def _alter_session(workspace: StatementWorkspace, tokens: list[SqlToken]) -> None:
    index = 0
    while index < len(tokens):
        if [t.value for t in tokens[index : index + 2]] == ["ISOLATION_LEVEL", "="]:
            _isolate([t.value for t in tokens[index + 2 :]])
            return
        if index + 2 >= len(tokens) or not tokens[index + 1].is_sign("="):
            raise ora(2248) if tokens[index].kind is Kind.WORD else ora(922)
        _set(workspace, tokens[index].value, tokens[index + 2])
        index += 3


def _isolate(words: list[str]) -> None:
    if words not in (["READ", "COMMITTED"], ["READ COMMITTED"]):
        raise unsupported(f"isolation level {' '.join(words)}")


def _set(workspace: StatementWorkspace, name: str, token: SqlToken) -> None:
    value = token.value
    if name in _FORMATS:
        masks.parse(value.upper().replace("XFF", ".FF"))
        setattr(workspace.settings, _FORMATS[name], value)
    elif name == "TIME_ZONE":
        workspace.settings.zone = _zone(value)
    elif name == "CURRENT_SCHEMA":
        workspace.change_schema(value)
    elif name in _FIXED:
        if value.upper() != _FIXED[name]:
            raise unsupported(f"{name} = {value}")
    elif name not in _NEUTRAL and not name.startswith("_"):
        raise ora(2248)


def _zone(text: str) -> TimeZone:
    """DBTIMEZONE and LOCAL, the server's own zone, are UTC here."""
    return time_zone.UTC if text.upper() in ("DBTIMEZONE", "LOCAL") else time_zone.named(text)
