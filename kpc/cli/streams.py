"""Standard output and error as commands use them: a stream that fails does not stop the work.

Containers, cron and pipes give streams that are closed, not UTF-8, on a full disk, or whose reader goes away
(`| head`). A load must not stop because its log cannot be written.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from kpc.cli.output import Exit

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class LastingFile(io.FileIO):
    """A file whose writes never fail: after the first error nothing is written, and `failure` says why."""

    failure: OSError | None = None

    def write(self, block: ReadableBuffer) -> int:
        if self.failure is None:
            try:
                return super().write(block)
            except OSError as error:
                self.failure = error
        return memoryview(block).nbytes


def with_lasting_streams(act: Callable[[], int]) -> int:
    """Run `act` and return its exit code; `Exit.FAILED` if its result could not be written.

    A closed pipe is not a failure: its reader has read all that it wanted.
    """
    _occupy_standard_descriptors()
    result, sys.stdout = _lasting(sys.stdout)
    _, sys.stderr = _lasting(sys.stderr)
    code = act()
    sys.stdout.flush()
    if result is not None and result.failure is not None and result.failure.errno != errno.EPIPE:
        print(f"Error: The result cannot be written: {result.failure.strerror}.", file=sys.stderr)
        code = code or Exit.FAILED
    sys.stderr.flush()
    return code


def _occupy_standard_descriptors() -> None:
    """Open /dev/null for closed ones: otherwise the ledger could become descriptor 1, and output land in it."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123  open as long as the process


def _lasting(stream: TextIO | None) -> tuple[LastingFile | None, TextIO]:
    """A stream that escapes characters missing from its encoding, on a file whose writes never fail."""
    if stream is None:
        return None, open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123  the same
    file = LastingFile(stream.fileno(), "w", closefd=False)
    encoding = stream.encoding or "utf-8"
    return file, io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding,
        errors="backslashreplace",
        line_buffering=stream is sys.stderr or file.isatty(),
    )
