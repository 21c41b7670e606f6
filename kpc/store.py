"""Where files live, and how a file becomes true: written under a temporary name, flushed to disk, then renamed.

    <root>/<source_id>/<target_id>/<table>/<key>/<generation>/<stage folder>/...

A reader that finds a manifest may trust that its files were complete when it was written; `verify` checks that they
still are. Files are readable by their owner only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from kpc.errors import DamagedFile, OutOfSpace
from kpc.partition import Partition

MANIFEST = "manifest.json"
_NO_SPACE = 28  # errno.ENOSPC
_COPY_BYTES = 1 << 20

ManifestT = TypeVar("ManifestT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Environment:
    """The two live systems: the database and its incarnation, and the org. Read from them, never configured."""

    source_id: str
    target_id: str


class FileEntry(BaseModel):
    """A finished file as a manifest lists it. `bytes` on disk; `raw_bytes` before compression, where that differs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rows: int
    bytes: int
    sha256: str
    raw_bytes: int | None = None
    first_key: str | None = None
    last_key: str | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """The staging directory; every worker sees the same one. `free_bytes` stay free on its disk."""

    root: Path
    free_bytes: int = 0

    def partition_dir(self, environment: Environment, partition: Partition) -> Path:
        return self.root / environment.source_id / environment.target_id / partition.table.slug / partition.key

    def generation_dir(self, environment: Environment, partition: Partition, generation: str) -> Path:
        return self.partition_dir(environment, partition) / generation

    def check_space(self, needed_bytes: int) -> None:
        """Raises `OutOfSpace` if writing `needed_bytes` would leave less than `free_bytes` free."""
        make_private(self.root)
        free = shutil.disk_usage(self.root).free
        if free < needed_bytes + self.free_bytes:
            raise OutOfSpace(
                f"The staging disk has {free:,} bytes free; {needed_bytes:,} more are needed and {self.free_bytes:,} "
                "must stay free.",
                f"Free space under {self.root}, or point KPC__STAGING__ROOT elsewhere, and run the stage again.",
            )


def make_private(folder: Path) -> Path:
    """Make a folder (and those above it) that only its owner can enter."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success its content becomes `path`, otherwise it is removed.

    Raises `OutOfSpace` when the disk fills up meanwhile.
    """
    make_private(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.unlink(missing_ok=True)
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno == _NO_SPACE:
            raise OutOfSpace(
                f"The disk filled up while {path.name} was written.",
                f"Free space under {path.parent} and run the stage again; nothing half-written was kept.",
            ) from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half-written below a folder that is the caller's alone (by its lease)."""
    for path in folder.rglob(".*.part"):
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, content: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def write_manifest(folder: Path, manifest: BaseModel, name: str = MANIFEST) -> None:
    """Publish a folder: whoever sees the manifest sees complete files."""
    write_text(folder / name, manifest.model_dump_json(indent=1) + "\n")


def read_manifest(folder: Path, kind: type[ManifestT], name: str = MANIFEST) -> ManifestT | None:
    """The folder's manifest; None if there is none yet. Raises `DamagedFile` if it cannot be understood."""
    path = folder / name
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, json.JSONDecodeError) as error:
        raise DamagedFile(
            f"{path} is not a {kind.__name__}: {str(error).splitlines()[0]}.",
            "Run the stage that wrote it again with --force.",
            path=path,
        ) from None


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_COPY_BYTES):
            digest.update(block)
    return digest.hexdigest()


def describe_file(path: Path, *, rows: int, raw_bytes: int | None = None) -> FileEntry:
    """The manifest entry of a finished file."""
    return FileEntry(name=path.name, rows=rows, bytes=path.stat().st_size, sha256=sha256_of(path), raw_bytes=raw_bytes)


def verify(folder: Path, entry: FileEntry, *, remedy: str) -> Path:
    """The path of a listed file, after its size and sha256 were compared. Raises `DamagedFile`."""
    path = folder / entry.name
    if not path.is_file():
        raise DamagedFile(f"{path} is gone, but its manifest lists it.", remedy, path=path)
    if path.stat().st_size != entry.bytes or sha256_of(path) != entry.sha256:
        raise DamagedFile(
            f"{path} has changed since it was written: its manifest says {entry.bytes:,} bytes and sha256 "
            f"{entry.sha256[:12]}...",
            remedy,
            path=path,
        )
    return path
