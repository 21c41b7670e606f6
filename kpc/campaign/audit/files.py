"""The files that the audit log vouches for, directly or through a manifest that it vouches for."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kpc.campaign.audit.places import Places
from kpc.ledger.audit_replay import AuditReplay, VouchedFile
from kpc.storage.store import MANIFEST, FileEntry, sha256_of

SMALL_BYTES = 1_000_000  # files up to this size are always read
_LISTS = ("chunks", "files", "index_file", "fingerprint_file", "rejected_file", "vanished_file")
_REPORT_EVERY = 200


class FileCheck:
    """Compares files with what the log says about them.

    Of larger files only the size is compared, unless all are read. `compared` counts all files, `unread` those whose
    content was not read.
    """

    def __init__(
        self, places: Places, replay: AuditReplay, *, reads_all: bool, progress: Callable[[str], None]
    ) -> None:
        self._places = places
        self._replay = replay
        self._reads_all = reads_all
        self._progress = progress
        self._in_work = set(replay.in_work)
        self.compared = self.unread = 0

    def run(self) -> Iterator[str]:
        """A sentence for each file that is missing, changed, or present although it was removed."""
        for name, vouched in sorted(self._replay.files.items()):
            if vouched.work in self._in_work:
                continue  # its stage may write it at this moment
            finding = self._difference(name, vouched)
            if finding:
                yield finding
            elif vouched.fact is not None and name.endswith(f"/{MANIFEST}"):
                yield from self._listed(name, vouched)

    def _difference(self, name: str, vouched: VouchedFile) -> str | None:
        if vouched.fact is None:
            return self._unexpected(name, vouched)
        said = f"which entry {vouched.seq} of the audit log vouches for"
        return self._compared(name, *vouched.fact, said)

    def _unexpected(self, name: str, vouched: VouchedFile) -> str | None:
        """A removed file may be in an archive, but not where it was; an absent manifest must not appear."""
        if vouched.reason or not name.endswith(".json") or self._places.content(name) is None:
            return None
        return (
            f"{self._places.shown(name)} exists, but entry {vouched.seq} of the audit log says that there is no such "
            "file."
        )

    def _listed(self, name: str, vouched: VouchedFile) -> Iterator[str]:
        """The files that a manifest lists; those with a tombstone may be gone."""
        folder = name.removesuffix(MANIFEST)
        for entry in self._entries(name):
            listed = folder + entry.name
            known = self._replay.files.get(listed)
            if known is not None and known.seq >= vouched.seq:  # has its own entry, or was removed on purpose
                continue
            # A stage that was repeated vouches for its manifest again, not for the files that it did not write again.
            if known is not None and known.removed_sha256 == entry.sha256 and self._is_gone(listed, entry.bytes):
                continue
            said = f"which {self._places.shown(name)} lists"
            finding = self._compared(listed, entry.bytes, entry.sha256, said)
            if finding:
                yield finding

    def _is_gone(self, name: str, size: int) -> bool:
        with self._local(name, size) as path:
            return path is None

    def _entries(self, name: str) -> Iterator[FileEntry]:
        document = json.loads(self._places.content(name) or b"{}")
        for key in _LISTS:
            found = document.get(key)
            for entry in found if isinstance(found, list) else [found]:
                if isinstance(entry, dict) and {"name", "bytes", "sha256"} <= entry.keys():
                    yield FileEntry.model_validate(entry)

    def _compared(self, name: str, size: int, sha256: str, said: str) -> str | None:
        """None if the file is as vouched for."""
        self.compared += 1
        if self.compared % _REPORT_EVERY == 0:
            self._progress(f"{self.compared:,} files compared")
        shown = self._places.shown(name)
        with self._local(name, size) as path:
            if path is None:
                return f"{shown}, {said}, is gone."
            if path is _UNREAD:
                return None
            if path.stat().st_size != size:
                return f"{shown}, {said}, has {path.stat().st_size:,} bytes instead of {size:,}."
            if size > SMALL_BYTES and not self._reads_all:
                self.unread += 1
                return None
            return None if sha256_of(path) == sha256 else f"{shown}, {said}, has different content."

    @contextmanager
    def _local(self, name: str, size: int) -> Iterator[Path | None]:
        """The file on this machine; None if it is gone, `_UNREAD` if an object store has it and nothing is read."""
        path, remote = self._places.path(name), self._places.store.remote
        if path is None or remote is None or not self._places.is_staging(name):
            yield path if path is not None and path.is_file() else None
            return
        if size > SMALL_BYTES and not self._reads_all:
            self.unread += 1
            yield _UNREAD
            return
        with tempfile.TemporaryDirectory(prefix="kpc-audit-") as folder:
            copy = Path(folder) / hashlib.sha256(name.encode()).hexdigest()
            key = path.relative_to(self._places.store.root).as_posix()
            yield copy if remote.fetch(key, copy) else None


_UNREAD = Path()
