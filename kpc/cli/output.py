"""The output of commands: text for people, one JSON object for scripts, and documented exit codes."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import IntEnum
from functools import wraps
from types import FrameType
from typing import NoReturn, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.table import Table as Grid

from kpc.cli.unexpected import explained_at_the_top
from kpc.errors import (
    KpcError,
    Mismatch,
    MissingExtra,
    NotYet,
    OutsideWindow,
    PassRunning,
    Paused,
    QuotaExhausted,
    RowsRejected,
    SchemaDrift,
    SiblingLoading,
)
from kpc.untrusted_text import printable

P = ParamSpec("P")
R = TypeVar("R")

_FILE_WIDTH = 200  # characters per line in a file or a pipe, which has no window width


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout  # None if the caller closed it
    is_terminal = stream is not None and stream.isatty()
    return Console(stderr=stderr, highlight=False, width=None if is_terminal else _FILE_WIDTH)


console = _console(stderr=True)


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    EXCEPTIONS = 3  # finished, with rejected rows or other exceptions that a person must look at
    STILL_RUNNING = 69
    INTERRUPTED = 130
    TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """SIGTERM: the command ends as after Ctrl-C, with its lease released, and another exit code."""


def end_on_sigterm() -> None:
    """Raise `Terminated` in the main thread at the first signal to terminate; later ones are ignored."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)  # the first signal is being handled
        raise Terminated

    signal.signal(signal.SIGTERM, end)


def this_command() -> str:
    """The command line as it was typed, for messages that say how to continue."""
    return shlex.join(["kpc", *sys.argv[1:]])


_CODES = {
    MissingExtra: Exit.USAGE,
    RowsRejected: Exit.EXCEPTIONS,
    OutsideWindow: Exit.STILL_RUNNING,
    PassRunning: Exit.STILL_RUNNING,
    SiblingLoading: Exit.STILL_RUNNING,
    Paused: Exit.STILL_RUNNING,
    QuotaExhausted: Exit.STILL_RUNNING,
}


def emit(result: object, *, as_json: bool, text: str | Grid) -> None:
    """Print the result on stdout: one JSON object with `--json`, otherwise the text."""
    if as_json:
        print_json(result)
    else:
        shown = printable(text) if isinstance(text, str) else text
        _console(stderr=False).print(shown, markup=False, soft_wrap=isinstance(text, str))


def as_json_text(result: object, *, is_ascii: bool = False) -> str:
    """One line of JSON with terminal control characters escaped, because it may contain text from a server."""
    text = json.dumps(result, default=_plain, ensure_ascii=is_ascii)
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def print_json(result: object) -> None:
    """Print JSON on stdout; if that is not UTF-8, characters beyond ASCII are written as JSON escapes."""
    is_utf8 = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    print(as_json_text(result, is_ascii=not is_utf8))


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
        if isinstance(error, NotYet):
            facts["again_utc"] = error.again_utc.isoformat()
        if isinstance(error, Mismatch):
            facts["measures"] = list(error.measures)  # type: ignore[assignment]
        print_json({"ok": False, **facts})
    raise typer.Exit(code)


def explaining_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command: every error becomes a message and an exit code, never a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            print(f"\nInterrupted. Continue with `{this_command()}`; nothing is sent twice.", file=sys.stderr)
            raise typer.Exit(Exit.TERMINATED if isinstance(interrupt, Terminated) else Exit.INTERRUPTED) from None
        except typer.Exit:
            raise
        except Exception as error:  # noqa: BLE001  the last place where a traceback can be avoided
            fail(explained_at_the_top(error), as_json=bool(kwargs.get("as_json")))

    return run
