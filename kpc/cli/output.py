"""The output of commands: text for people, one JSON object for scripts, and documented exit codes."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import IntEnum
from functools import wraps
from typing import NoReturn, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.table import Table as Grid

from kpc.errors import (
    KpcError,
    Mismatch,
    MissingExtra,
    OutOfSpace,
    OutsideWindow,
    Paused,
    QuotaExhausted,
    RowsRejected,
    SchemaDrift,
)
from kpc.untrusted_text import printable

P = ParamSpec("P")
R = TypeVar("R")

_FILE_WIDTH = 200  # characters per line in a file or a pipe, which has no window width


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else _FILE_WIDTH)


console = _console(stderr=True)


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    EXCEPTIONS = 3  # finished, with rejected rows or other exceptions that a person must look at
    STILL_RUNNING = 69
    INTERRUPTED = 130


_CODES = {
    MissingExtra: Exit.USAGE,
    RowsRejected: Exit.EXCEPTIONS,
    OutsideWindow: Exit.STILL_RUNNING,
    Paused: Exit.STILL_RUNNING,
    QuotaExhausted: Exit.STILL_RUNNING,
}


def emit(result: object, *, as_json: bool, text: str | Grid) -> None:
    """Print the result on stdout: one JSON object with `--json`, otherwise the text."""
    if as_json:
        print(as_json_text(result))
    else:
        shown = printable(text) if isinstance(text, str) else text
        _console(stderr=False).print(shown, markup=False, soft_wrap=isinstance(text, str))


def as_json_text(result: object) -> str:
    """One line of JSON in which what a terminal would obey is escaped; text of servers may be part of it."""
    text = json.dumps(result, default=_plain, ensure_ascii=False)
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def say(text: str) -> None:
    """Print progress and remarks on stderr."""
    console.print(printable(text), markup=False)


def grid(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Grid:
    """A table for people, with numbers aligned right and text left."""
    made = Grid(title=title, title_justify="left", header_style="bold")
    for position, name in enumerate(columns):
        is_number = bool(rows) and all(_is_number(row[position]) for row in rows)
        made.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(_shown(cell) for cell in row))
    return made


def _is_number(cell: object) -> bool:
    return isinstance(cell, int | float | Decimal) and not isinstance(cell, bool)


def _shown(cell: object) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return f"{cell:,}" if isinstance(cell, int) else printable(str(cell))


def _plain(value: object) -> object:
    return str(value)


def fail(error: KpcError, *, as_json: bool = False) -> NoReturn:
    """Print what happened and what to do, and exit with the code of the error's kind."""
    console.print(printable(f"Error: {error.what}"), style="bold red", markup=False)
    if error.remedy:
        say(error.remedy)
    code = _CODES.get(type(error), Exit.FAILED)
    if as_json:
        facts = {"error": type(error).__name__, "what": error.what, "remedy": error.remedy}
        if isinstance(error, SchemaDrift):
            facts["differences"] = list(error.differences)  # type: ignore[assignment]
        if isinstance(error, QuotaExhausted):
            facts["next_free_utc"] = error.next_free_utc.isoformat()
        if isinstance(error, OutsideWindow):
            facts["opens_utc"] = error.opens_utc.isoformat()
        if isinstance(error, Mismatch):
            facts["measures"] = list(error.measures)  # type: ignore[assignment]
        print(as_json_text({"ok": False, **facts}))
    raise typer.Exit(code)


def explaining_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command: the project's errors become a message and an exit code, never a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except KpcError as error:
            fail(error, as_json=bool(kwargs.get("as_json")))
        except OSError as error:
            if error.errno != errno.ENOSPC:  # anything else is a defect: show its traceback
                raise
            fail(OutOfSpace("The disk is full.", "Free space and run the command again."))
        except KeyboardInterrupt:
            print("\nInterrupted; run the same command again to continue.", file=sys.stderr)
            raise typer.Exit(Exit.INTERRUPTED) from None

    return run
