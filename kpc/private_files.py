"""Files and folders that only their owner may read, whatever the process's umask is."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600
_OTHERS = 0o077


def make_private(folder: Path) -> Path:
    """Make a folder, and those above it that are missing, that only its owner can enter.

    A folder that is there keeps its mode: it may be shared on purpose. An `OSError` names the folder.
    """
    try:
        missing = [folder, *folder.parents]
        for each in reversed(missing[: next((at for at, one in enumerate(missing) if one.exists()), len(missing))]):
            each.mkdir(exist_ok=True, mode=FOLDER_MODE)
        folder.mkdir(exist_ok=True, mode=FOLDER_MODE)  # raises if something else has its name
    except OSError as error:
        error.filename = str(folder)  # rather than one above it
        raise
    return folder


def make_private_file(path: Path) -> Path:
    """Create an empty file that only its owner can read, replacing any existing file."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE))
    return path


def keep_private(path: Path) -> None:
    """Create a file that only its owner can read, or take the others' rights to an existing one away.

    Does nothing where that is not allowed: whoever opens the file then says why.
    """
    with suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, FILE_MODE))
        if path.stat().st_mode & _OTHERS:
            path.chmod(FILE_MODE)
