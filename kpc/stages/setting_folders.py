"""The folders that settings name, and which setting an error of the operating system is about."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kpc.errors import KpcError, OutOfSpace
from kpc.file_errors import explained
from kpc.private_files import make_private
from kpc.settings import Settings
from kpc.storage.object_store import directory_of, is_url

STAGING_ROOT = "KPC__STAGING__ROOT"
_NEARLY_FULL = 1_000_000  # bytes; what was half-written has been removed again


def local_folders(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Each setting that names a local folder with its path."""
    staging = settings.staging
    if not is_url(staging.root):
        yield STAGING_ROOT, directory_of(staging.root)
    yield "KPC__STAGING__SCRATCH", staging.scratch
    if not is_url(staging.archive_root):
        yield "KPC__STAGING__ARCHIVE_ROOT", directory_of(staging.archive_root)
    yield "KPC__RECONCILE__DOCS_ROOT", settings.reconcile.docs_root


def write_into(folder: Path, settings: Settings) -> str:
    """Try that a folder can be written; it is made if it is missing. Raises `ConfigError` or `OutOfSpace`."""
    with naming_settings(settings), tempfile.TemporaryFile(dir=make_private(folder)) as file:
        file.write(b"a trial of kpc")
        file.flush()
    return f"{folder} can be written"


@contextmanager
def naming_settings(settings: Settings) -> Iterator[None]:
    """Turns an error of the operating system into one of ours; see `explained_by_setting`."""
    try:
        yield
    except OSError as error:
        raise explained_by_setting(error, settings) from error


def explained_by_setting(error: OSError, settings: Settings | None) -> KpcError:
    """The error with the setting whose folder the file is in; without one, the error names the file."""
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    found = _folder_of(path, list(local_folders(settings))) if settings and path else None
    if found is None and settings and OutOfSpace.is_meant_by(error):
        full = [f"{name} ({folder})" for name, folder in local_folders(settings) if _is_full(folder)]
        return explained(error, path or f"The disk of {' and '.join(full) or 'a temporary file'}", "")
    if found is None:
        return explained(error, path or "A file or connection", "Check that this user may use it.")
    name, folder = found
    return explained(error, f"{name} ({folder})", f"Point {name} at a folder that this user may write.")


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _NEARLY_FULL
    except OSError:
        return False


def _folder_of(path: str, named: Sequence[tuple[str, Path]]) -> tuple[str, Path] | None:
    """The innermost folder that holds the path, or else the first that is to be made below it."""
    around = [each for each in named if _is_in(path, each[1])]
    below = [each for each in named if _is_in(each[1], path)]
    return max(around, key=lambda each: len(_absolute(each[1])), default=next(iter(below), None))


def _is_in(inner: str | Path, outer: str | Path) -> bool:
    folder = _absolute(outer).rstrip("/")
    return _absolute(inner) == folder or _absolute(inner).startswith(f"{folder}/")


def _absolute(path: str | Path) -> str:
    try:
        return os.path.abspath(path)  # noqa: PTH100  `Path.absolute` keeps `..`
    except OSError:  # the working directory is gone
        return os.path.normpath(path)
