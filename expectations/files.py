"""Where a Great Expectations project keeps its files, and how they are written.

    <root>/gx/great_expectations.yml                                            the project
    <root>/gx/expectations/<table>.json                                         one suite per table
    <root>/gx/validation_definitions/<table>.json                               the suite on the table's comparisons
    <root>/gx/checkpoints/<table>.json                                          what a reconciliation runs
    <root>/gx/uncommitted/validations/<table>/<run>/<time>/<batch>.json         one result per partition and run
    <root>/gx/uncommitted/reports/<name>.html                                   one sign-off report per call
    <root>/gx/uncommitted/data_docs/migration/...                               the pages

This is Great Expectations' standard layout.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kpc.private_files import keep_private, make_private, make_private_file

SITE_NAME = "migration"


@dataclass(frozen=True, slots=True)
class Project:
    """The Great Expectations project under `root`."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "gx"

    @property
    def config(self) -> Path:
        return self.folder / "great_expectations.yml"

    @property
    def suites(self) -> Path:
        return self.folder / "expectations"

    @property
    def definitions(self) -> Path:
        return self.folder / "validation_definitions"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def validations(self) -> Path:
        return self.folder / "uncommitted" / "validations"

    @property
    def reports(self) -> Path:
        """The sign-off reports, which are never replaced."""
        return self.folder / "uncommitted" / "reports"

    @property
    def site(self) -> Path:
        return self.folder / "uncommitted" / "data_docs" / SITE_NAME

    @property
    def site_state(self) -> Path:
        """The site builder's saved state; deleting it causes a full build."""
        return self.folder / "uncommitted" / "data_docs" / f"{SITE_NAME}.json"


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace the file atomically: readers see the old or the new content. Not flushed: pages can be rebuilt."""
    # The leading dot and the suffix keep the temporary file out of the listings of results and pages.
    temporary = path.parent / f".{os.getpid()}-{threading.get_ident()}.part"
    try:
        make_private(path.parent)
        make_private_file(temporary).write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # rather than a folder above it, or nothing when the disk is full
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_if_different(path: Path, content: str) -> None:
    try:
        if path.read_text(encoding="utf-8") == content:
            return
    except FileNotFoundError:
        pass
    write_atomically(path, content)


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes; the kernel releases it when the process ends."""
    try:
        make_private(lock.parent)
        keep_private(lock)
        file = lock.open("w")
    except OSError as error:
        error.filename = str(lock)
        raise
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
