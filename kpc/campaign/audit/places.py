"""Where the files that the audit log vouches for are stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kpc.stages.vouched_work import DOCS, STAGING
from kpc.storage.store import Store, open_store

if TYPE_CHECKING:
    from kpc.settings import Settings


@dataclass(frozen=True, slots=True)
class Places:
    """The two roots: the store of the staging root, and the folder of the Data Docs."""

    store: Store
    docs_root: Path

    def path(self, name: str) -> Path | None:
        """The path of a vouched file; None for a name under neither root, or one that leads out of its root."""
        root, _, rest = name.partition("/")
        above = {STAGING: self.store.root, DOCS: self.docs_root}.get(root)
        if above is None or not rest or ".." in Path(rest).parts or Path(rest).is_absolute():
            return None
        return above / rest

    def is_staging(self, name: str) -> bool:
        return name.startswith(f"{STAGING}/")

    def shown(self, name: str) -> str:
        """The file's path or URL for people."""
        path = self.path(name)
        if path is None:
            return name
        return self.store.shown(path) if self.is_staging(name) else str(path)

    def content(self, name: str) -> bytes | None:
        """The bytes of a small file; None if it does not exist."""
        path = self.path(name)
        if path is None:
            return None
        if self.is_staging(name):
            return self.store.content(path)
        return path.read_bytes() if path.is_file() else None


def places_of(settings: Settings) -> Places:
    """The roots that the settings name; they need not exist. The caller closes the store."""
    staging = settings.staging
    return Places(open_store(staging.root, staging.scratch, staging.free_bytes), settings.reconcile.docs_root)
