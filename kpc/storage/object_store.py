"""A staging root in an object store: whole objects are written and read, without renames or partial writes.

Uses only operations that every object store has: write, read and remove one object. An upload becomes visible when it
is complete, so an object has either its old or its new content.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec  # type: ignore[import-untyped]

from kpc.errors import ConfigError, OutOfSpace, Transient
from kpc.setting_sources import expanded

# The package that provides each protocol.
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
}


def is_url(root: str) -> bool:
    """True for `s3://bucket/kpc`; a plain path and `file:///srv/kpc` are directories."""
    return "://" in root and not root.startswith("file://")


def directory_of(root: str) -> Path:
    """The directory that a root names if it is not an object store."""
    return expanded(root.removeprefix("file://"))


class ObjectStore:
    """The objects below one URL, by keys such as `ora-1/00D1/kps_t_sales_md/2024-05/01J.../extract/manifest.json`."""

    def __init__(self, url: str) -> None:
        """Raises `ConfigError` naming the package that is missing."""
        self.url = url.rstrip("/")
        protocol = url.partition("://")[0]
        try:
            self._files, self._base = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            package = _PACKAGES.get(protocol, "that supports it")
            raise ConfigError(
                f"No driver for {protocol}:// is installed, but KPC__STAGING__ROOT needs one: {error}.",
                f"Install the package {package} on every worker, or use a directory that all workers see.",
            ) from None

    def read(self, key: str) -> bytes | None:
        """A small object's content; None if there is none."""
        with self._explained(key):
            try:
                content: bytes = self._files.cat_file(self._path(key))
            except FileNotFoundError:
                return None
            return content

    def has(self, key: str) -> bool:
        """Whether there is such an object."""
        with self._explained(key):
            return bool(self._files.exists(self._path(key)))

    def fetch(self, key: str, path: Path) -> bool:
        """Copy an object into a file; False if there is none."""
        with self._explained(key):
            try:
                self._files.get_file(self._path(key), str(path))
            except FileNotFoundError:
                return False
            return True

    def send(self, path: Path, key: str) -> None:
        """Write a file's content to the object, replacing any existing one."""
        with self._explained(key):
            self._files.put_file(str(path), self._path(key))

    def remove(self, key: str) -> None:
        """Remove an object if it exists."""
        with self._explained(key):
            try:
                self._files.rm_file(self._path(key))
            except FileNotFoundError:
                return

    def _path(self, key: str) -> str:
        return f"{self._base}/{key}"

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise ConfigError(
                f"The object store refuses access to {self.url}/{key}: {error}.",
                "Give the worker's credentials the right to read, write and delete below KPC__STAGING__ROOT.",
            ) from error
        except OSError as error:
            if OutOfSpace.is_meant_by(error):
                raise
            raise Transient(
                f"The object store failed to read or write {self.url}/{key}: {error}.", "Run the stage again."
            ) from error
