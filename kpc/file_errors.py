"""What an error of the operating system means for the person who named the file: one sentence, and the next step."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kpc.errors import ConfigError, KpcError, OutOfSpace, Terminal, Transient, errno_of

_MAY_PASS = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR, errno.EHOSTUNREACH, errno.ENETUNREACH)
_NO_TEMPORARY_FOLDER = "No usable temporary directory"


def explained(error: OSError, subject: str, remedy: str) -> KpcError:
    """The error about `subject`, such as "KPC__STAGING__ROOT"; `remedy` says what else to name instead."""
    number = errno_of(error)
    reason = os.strerror(number) if number is not None else error.strerror or type(error).__name__
    file = f"{_path(error)}: " if _path(error) not in subject else ""
    if OutOfSpace.is_meant_by(error):
        return OutOfSpace(f"{subject} has no room: {file}{reason}.", f"Free space there and run it again. {remedy}")
    if isinstance(error, ConnectionError | TimeoutError) or number in _MAY_PASS:
        return Transient(f"{subject} does not answer: {file}{reason}.", "Check the disk or network, then repeat it.")
    of_machine = _of_the_machine(error, number, subject)
    return of_machine or ConfigError(f"{subject} cannot be used: {file}{reason}.", remedy)


def _of_the_machine(error: OSError, number: int | None, subject: str) -> KpcError | None:
    """The error if another path would not help."""
    if number in (errno.EMFILE, errno.ENFILE):
        return ConfigError(
            f"This process may not open more files: {subject}.", "Raise the limit, for example with ulimit -n 4096."
        )
    if _NO_TEMPORARY_FOLDER in str(error):
        return ConfigError("There is no folder for temporary files.", "Set TMPDIR to a folder that can be written.")
    if number == errno.ENOMEM:
        return Terminal(f"The memory of this machine does not suffice: {subject}.", "Free memory and run it again.")
    if number == errno.ENOENT and not _path(error).startswith("/") and _has_no_working_folder():
        return ConfigError(
            f"The working directory no longer exists: {subject}.", "Change to a folder that exists and run it again."
        )
    return None


@contextmanager
def naming(option: str, file: Path) -> Iterator[None]:
    """Turns an error of the file that a command-line option names, or of its folder, into one about that option."""
    try:
        yield
    except OSError as error:
        folder, path = Path(os.path.realpath(file)).parent, _path(error)
        if path and not (Path(path).is_relative_to(folder) or folder.is_relative_to(path) or path == str(file)):
            raise
        raise explained(error, f"{option} {file}", f"Give {option} a path that this user may use.") from error


def _has_no_working_folder() -> bool:
    try:
        Path.cwd()
    except OSError:
        return True
    return False


def _path(error: OSError) -> str:
    return os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
