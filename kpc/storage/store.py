"""Files below the staging root and their atomic publication: a temporary name, flushed to disk, then renamed.

    <root>/<source_id>/<target_id>/<table>/<key>/<generation>/<stage folder>/...

A reader that finds a manifest may trust that its files were complete when it was written; `verify` checks that they
still are. Files are readable by their owner only.

The root is a directory that all workers see, or an object store. With an object store every process works in a scratch
directory of its own with the same layout: finished files are uploaded to the store, the manifest last, and files of
other workers are downloaded when they are needed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, ValidationError

from kpc.errors import DamagedFile, OutOfSpace
from kpc.private_files import make_private, make_private_file
from kpc.storage.object_store import ObjectStore, directory_of, is_url

MANIFEST = "manifest.json"
_COPY_BYTES = 1 << 20
_WORKER = "worker-"

ManifestT = TypeVar("ManifestT", bound=BaseModel)


class FileEntry(BaseModel):
    """A finished file as listed in a manifest. `bytes` on disk; `raw_bytes` before compression, if different.

    Chunks have the external ids of their first and last row, and `key_sum`, a checksum of all their ids (KeySum).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rows: int
    bytes: int
    sha256: str
    raw_bytes: int | None = None
    first_key: str | None = None
    last_key: str | None = None
    key_sum: str | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """The staging root as one process sees it; `free_bytes` stay free on its disk.

    `root` is the staging directory itself, or the scratch directory in front of `remote`.
    """

    root: Path
    free_bytes: int = 0
    remote: ObjectStore | None = None

    def close(self) -> None:
        """Remove the scratch directory: its finished files are in the object store."""
        if self.remote is not None:
            shutil.rmtree(self.root, ignore_errors=True)

    def shown(self, path: Path) -> str:
        """The path or URL of a file or folder, as shown to people."""
        return str(path) if self.remote is None else f"{self.remote.url}/{self._key(path)}"

    def manifest(self, folder: Path, kind: type[ManifestT], name: str = MANIFEST) -> ManifestT | None:
        """The folder's manifest; None if there is none yet. Raises `DamagedFile` if it cannot be parsed."""
        content = self.content(folder / name)
        return None if content is None else _parsed(content, kind, self.shown(folder / name))

    def content(self, path: Path) -> bytes | None:
        """The bytes of a small file in the root; None if there is none."""
        if self.remote is not None:
            return self.remote.read(self._key(path))
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def publish(self, folder: Path, manifest: BaseModel, files: Sequence[FileEntry] = (), name: str = MANIFEST) -> None:
        """Write a folder's manifest, after the files that it lists; see `write_manifest`."""
        write_manifest(folder, manifest, name)
        if self.remote is not None:
            for path in [*(folder / entry.name for entry in files), folder / name]:
                self.remote.send(path, self._key(path))

    def withdraw(self, folder: Path, *more: str) -> None:
        """Remove a folder's manifest and `more` of its files, so that it can be written again.

        Other files of an object store are overwritten then.
        """
        for name in (MANIFEST, *more):
            self.remove(folder / name)
        shutil.rmtree(folder, ignore_errors=True)

    def file(self, folder: Path, entry: FileEntry, *, remedy: str) -> Path:
        """A listed file, verified; fetched first if this process does not have it as listed."""
        if self.remote is None:
            return verify(folder, entry, remedy=remedy)
        try:
            return verify(folder, entry, remedy=remedy)
        except DamagedFile:
            self.fetch(folder / entry.name)
            return verify(folder, entry, remedy=remedy)

    def fetch(self, path: Path) -> bool:
        """Fetch the current version of a file that no manifest lists; False if there is none."""
        if self.remote is None:
            return path.is_file()
        with atomic_path(path) as temporary:
            is_there = self.remote.fetch(self._key(path), temporary)
        if not is_there:
            path.unlink()
        return is_there

    def send(self, path: Path) -> None:
        """Make a finished file that no manifest lists visible to all workers."""
        if self.remote is not None:
            self.remote.send(path, self._key(path))

    def take(self, source: Path, path: Path) -> None:
        """Copy a file from elsewhere to `path`; it is visible when it is complete."""
        with atomic_path(path) as temporary:
            shutil.copyfile(source, temporary)
        if self.remote is not None:
            self.remote.send(path, self._key(path))
            path.unlink()  # whoever reads it gets what the store really holds

    def holds(self, path: Path) -> bool:
        """Whether a file is in the store, not only in the scratch directory in front of it."""
        return path.is_file() if self.remote is None else self.remote.has(self._key(path))

    def remove(self, path: Path) -> None:
        """Remove a file if it exists."""
        path.unlink(missing_ok=True)
        if self.remote is not None:
            self.remote.remove(self._key(path))

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def check_space(self, needed_bytes: int) -> None:
        """Raises `OutOfSpace` if writing `needed_bytes` would leave less than `free_bytes` free."""
        make_private(self.root)
        free = shutil.disk_usage(self.root).free
        if free < needed_bytes + self.free_bytes:
            setting = "KPC__STAGING__ROOT" if self.remote is None else "KPC__STAGING__SCRATCH"
            raise OutOfSpace(
                f"The staging disk has {free:,} bytes free; {needed_bytes:,} more are needed and {self.free_bytes:,} "
                "must stay free.",
                f"Free space under {self.root}, or point {setting} elsewhere, and run the stage again.",
            )


def open_store(root: str, scratch: Path, free_bytes: int) -> Store:
    """The store at a directory or object store URL; `scratch` is the working directory used with an object store.

    Raises `ConfigError` if no driver for the URL is installed.
    """
    if not is_url(root):
        return Store(make_private(directory_of(root)), free_bytes)
    remote = ObjectStore(root)
    _sweep(scratch)
    return Store(make_private(scratch / f"{_WORKER}{os.getpid()}"), free_bytes, remote)


def _sweep(scratch: Path) -> None:
    """Remove what killed processes left in the scratch directory; their finished files were already sent."""
    for folder in scratch.glob(f"{_WORKER}*"):
        pid = folder.name.removeprefix(_WORKER)
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success its content becomes `path`, otherwise it is removed.

    Raises `OutOfSpace` when the disk fills up meanwhile.
    """
    with disk_may_fill(path):
        make_private(path.parent)
    # Machines share the folder, and processes of two machines may have the same number.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with disk_may_fill(path):
            yield make_private_file(temporary)
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def disk_may_fill(path: Path) -> Iterator[None]:
    """Turns a full disk into `OutOfSpace`, which names the file; other errors of the system get its path."""
    try:
        yield
    except OSError as error:
        if OutOfSpace.is_meant_by(error):
            raise OutOfSpace(
                f"The disk filled up while {path.name} was written.",
                f"Free space under {path.parent} and run the stage again; nothing half-written was kept.",
            ) from error
        if error.filename is None:  # the libraries that write the files do not tell
            error.filename = str(path)
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove unfinished files of killed processes below a folder that only the caller may write (by its lease)."""
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
    """Publish a folder: a reader that sees the manifest sees complete files."""
    write_text(folder / name, manifest.model_dump_json(indent=1) + "\n")


def read_manifest(folder: Path, kind: type[ManifestT], name: str = MANIFEST) -> ManifestT | None:
    """`Store.manifest` of a folder on this machine."""
    return Store(folder).manifest(folder, kind, name)


def _parsed(content: bytes, kind: type[ManifestT], place: str) -> ManifestT:
    try:
        return kind.model_validate_json(content)
    except (ValidationError, json.JSONDecodeError) as error:
        raise DamagedFile(
            f"{place} is not a {kind.__name__}: {str(error).splitlines()[0]}.",
            "Its path names table and key: extract that partition again with `kpc rerun TABLE KEY --mode full`.",
            path=place,
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
    """The path of a listed file, after comparing its size and sha256. Raises `DamagedFile`."""
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
