"""A file that is written piece by piece and published under its name only when it is complete."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from kpc.storage.store import atomic_path


class AtomicFile:
    """A context manager: a file that was not published when the context ends leaves nothing behind.

    Subclasses write to `_temporary` and call `_publish`. A full disk becomes `OutOfSpace` when the context ends.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scope = ExitStack()
        self._temporary = self._scope.enter_context(atomic_path(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        error = error or _Unfinished()
        try:
            return self._scope.__exit__(type(error), error, trace)
        except _Unfinished:
            return None

    def _publish(self) -> None:
        self._scope.close()


class _Unfinished(Exception):
    """A context ended before its file was published."""
