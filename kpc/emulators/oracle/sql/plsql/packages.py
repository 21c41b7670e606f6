"""Procedures of supplied packages that clients call: session attributes, DBMS_OUTPUT, DBMS_STATS, sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable

from kpc.emulators.oracle.interface import BindValue
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.parsing.grammar import parse_statement
from kpc.emulators.oracle.sql.transactions import commands
from kpc.emulators.oracle.sql.workspace import StatementWorkspace

_LOOK_S = 0.02  # how soon a sleeping session notices a break
_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "DBMS_APPLICATION_INFO.SET_MODULE": ("module", "action"),
    "DBMS_APPLICATION_INFO.SET_ACTION": ("action",),
    "DBMS_APPLICATION_INFO.SET_CLIENT_INFO": ("client_info",),
    "DBMS_SESSION.SET_IDENTIFIER": ("client_identifier",),
}
_MAX_LINE_BYTES = 32_767
_MAX_BUFFER_BYTES = 64_000_000


class OutputBuffer:
    """DBMS_OUTPUT of one session: lines are kept only while it is enabled."""

    def __init__(self) -> None:
        self.is_enabled = False
        self._lines: list[str] = []
        self._started = ""
        self._bytes = 0

    def enable(self) -> None:
        self.is_enabled = True

    def disable(self) -> None:
        self.__init__()  # type: ignore[misc]  # as a new one

    def put(self, text: str) -> None:
        """Raises ORA-20000 for a line or a buffer that grows too long."""
        if not self.is_enabled:
            return
        self._started += text
        self._bytes += len(text.encode())
        if len(self._started.encode()) > _MAX_LINE_BYTES or self._bytes > _MAX_BUFFER_BYTES:
            self._started = ""
            raise ora(20000, "ORU-10028: line length overflow, limit of 32767 bytes per line")

    def new_line(self) -> None:
        if self.is_enabled:
            self._lines.append(self._started)
            self._started = ""

    def get_line(self) -> str | None:
        if not self._lines:
            return None
        line = self._lines.pop(0)
        self._bytes -= len(line.encode())
        return line


Arguments = list[BindValue]
OutputProcedure = Callable[[OutputBuffer, Arguments], dict[int, BindValue]]
SessionProcedure = Callable[[StatementWorkspace, Arguments], dict[int, BindValue]]


def call(workspace: StatementWorkspace, output: OutputBuffer, name: str, arguments: Arguments) -> dict[int, BindValue]:
    """Run a procedure; returns its OUT values by argument position."""
    if name in _ATTRIBUTES:
        keys = _ATTRIBUTES[name]
        if len(arguments) > len(keys):
            raise _wrong_arguments(name)
        given = {key: None if v is None else str(v) for key, v in zip(keys, arguments, strict=False)}
        workspace.set_attributes(**given)
        return {}
    if name in _OUTPUT_PROCEDURES:
        least, most, write = _OUTPUT_PROCEDURES[name]
        _check_arguments(name, arguments, least, most)
        return write(output, arguments)
    if name not in _SESSION_PROCEDURES:
        raise unsupported(f"PL/SQL {name}")
    least, most, run = _SESSION_PROCEDURES[name]
    _check_arguments(name, arguments, least, most)
    return run(workspace, arguments)


def _check_arguments(name: str, arguments: Arguments, least: int, most: int) -> None:
    if not least <= len(arguments) <= most:
        raise _wrong_arguments(name)


def _wrong_arguments(name: str) -> Exception:
    procedure = name.rsplit(".", maxsplit=1)[-1]
    return ora(6550, 1, 7, f"PLS-00306: wrong number or types of arguments in call to '{procedure}'")


def _text(value: BindValue) -> str:
    return "" if value is None else str(value)


def _put(output: OutputBuffer, arguments: Arguments) -> dict[int, BindValue]:
    output.put(_text(arguments[0]))
    return {}


def _put_line(output: OutputBuffer, arguments: Arguments) -> dict[int, BindValue]:
    output.put(_text(arguments[0]))
    output.new_line()
    return {}


def _new_line(output: OutputBuffer, arguments: Arguments) -> dict[int, BindValue]:
    output.new_line()
    return {}


def _get_line(output: OutputBuffer, arguments: Arguments) -> dict[int, BindValue]:
    line = output.get_line()
    return {0: line, 1: 1 if line is None else 0}


def _enable(output: OutputBuffer, arguments: Arguments) -> dict[int, BindValue]:
    output.enable()
    return {}


def _disable(output: OutputBuffer, arguments: Arguments) -> dict[int, BindValue]:
    output.disable()
    return {}


def _sleep(workspace: StatementWorkspace, arguments: Arguments) -> dict[int, BindValue]:
    """DBMS_SESSION.SLEEP(seconds); a break ends it with ORA-01013."""
    until = time.monotonic() + float(_text(arguments[0]) or 0)
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _LOOK_S))
        workspace.interruption.check()
    return {}


def _set_nls(workspace: StatementWorkspace, arguments: Arguments) -> dict[int, BindValue]:
    key, value = (_text(argument) for argument in arguments)
    quoted = value if value.startswith("'") else f"'{value}'"
    commands.execute(workspace, parse_statement(f"ALTER SESSION SET {key} = {quoted}"))
    return {}


def _clear_identifier(workspace: StatementWorkspace, arguments: Arguments) -> dict[int, BindValue]:
    workspace.set_attributes(client_identifier=None)
    return {}


def _gather_table(workspace: StatementWorkspace, arguments: Arguments) -> dict[int, BindValue]:
    """DBMS_STATS.GATHER_TABLE_STATS(owner, table)."""
    owner, name = (_text(argument).upper() for argument in arguments)
    workspace.gather_statistics(workspace.schema.table(owner or None, name))
    return {}


def _gather_schema(workspace: StatementWorkspace, arguments: Arguments) -> dict[int, BindValue]:
    """DBMS_STATS.GATHER_SCHEMA_STATS(owner)."""
    owner = _text(arguments[0]).upper()
    for table in list(workspace.store.tables()):
        if table.owner == owner:
            workspace.gather_statistics(table)
    return {}


# Name -> (fewest arguments, most arguments, implementation).
_OUTPUT_PROCEDURES: dict[str, tuple[int, int, OutputProcedure]] = {
    "DBMS_OUTPUT.ENABLE": (0, 1, _enable),
    "DBMS_OUTPUT.DISABLE": (0, 0, _disable),
    "DBMS_OUTPUT.PUT": (1, 1, _put),
    "DBMS_OUTPUT.PUT_LINE": (1, 1, _put_line),
    "DBMS_OUTPUT.NEW_LINE": (0, 0, _new_line),
    "DBMS_OUTPUT.GET_LINE": (2, 2, _get_line),
}
_SESSION_PROCEDURES: dict[str, tuple[int, int, SessionProcedure]] = {
    "DBMS_STATS.GATHER_TABLE_STATS": (2, 2, _gather_table),
    "DBMS_STATS.GATHER_SCHEMA_STATS": (1, 1, _gather_schema),
    "DBMS_SESSION.SLEEP": (1, 1, _sleep),
    "DBMS_LOCK.SLEEP": (1, 1, _sleep),
    "DBMS_SESSION.SET_NLS": (2, 2, _set_nls),
    "DBMS_SESSION.CLEAR_IDENTIFIER": (0, 0, _clear_identifier),
}
