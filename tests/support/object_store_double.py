"""An fsspec file system with the habits of an object store: `objects://bucket/key`, held by this process.

An upload is visible when it is closed, and as a whole; there are no folders, no rename and no append. `fail_after`
makes an upload break off after so many bytes, as a lost connection does; `break_at` the so manieth and all after it.
"""

from __future__ import annotations

import io
from typing import Any, ClassVar

import fsspec
from fsspec.spec import AbstractFileSystem


class _Upload(io.BytesIO):
    def __init__(self, store: type[ObjectStoreDouble], key: str) -> None:
        super().__init__()
        self._store = store
        self._key = key
        self._is_broken = False

    def write(self, block: Any) -> int:
        limit, last = self._store.fail_after, self._store.break_at
        is_too_long = limit is not None and self.tell() + len(block) > limit
        if is_too_long or (last is not None and len(self._store.uploads) + 1 >= last):
            self._is_broken = True
            raise ConnectionResetError("the object store went away")
        return super().write(block)

    def close(self) -> None:
        if not self.closed and not self._is_broken:
            self._store.held[self._key] = self.getvalue()
            self._store.uploads.append(self._key)
        super().close()


class ObjectStoreDouble(AbstractFileSystem):  # type: ignore[misc]
    protocol = "objects"
    cachable = False
    held: ClassVar[dict[str, bytes]] = {}
    uploads: ClassVar[list[str]] = []
    fail_after: ClassVar[int | None] = None
    break_at: ClassVar[int | None] = None

    @classmethod
    def empty(cls) -> None:
        cls.held.clear()
        cls.uploads.clear()
        cls.fail_after = cls.break_at = None

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        if mode == "wb":
            return _Upload(type(self), path)
        if mode == "rb":
            return io.BytesIO(self._content(path))
        raise NotImplementedError(f"an object store has no mode {mode}")

    def _content(self, path: str) -> bytes:
        if path not in self.held:
            raise FileNotFoundError(path)
        return self.held[path]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "size": len(self._content(path)), "type": "file"}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        found = [self.info(key) for key in self.held if key.startswith(path)]
        return found if detail else [entry["name"] for entry in found]

    def rm_file(self, path: str) -> None:
        self._content(path)
        del self.held[path]

    def mv(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("an object store has no rename")

    cp_file = mv


fsspec.register_implementation("objects", ObjectStoreDouble, clobber=True)
