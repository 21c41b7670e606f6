"""A Great Expectations store backend that writes files atomically.

Several Airflow tasks store results while another reads them to build the pages; the library's own backend writes in
place. Great Expectations finds this class by its name in great_expectations.yml; importing this module also registers
the expectation of `expectations.equality`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from great_expectations.data_context.store.tuple_store_backend import TupleFilesystemStoreBackend

from expectations import equality
from expectations.files import write_atomically

__all__ = ["AtomicFilesystemStoreBackend", "equality"]


class AtomicFilesystemStoreBackend(TupleFilesystemStoreBackend):
    def _set(self, key: Any, value: str | bytes, **kwargs: Any) -> str:  # type: ignore[override]  # as its parent does
        del kwargs
        parts = key if isinstance(key, tuple) else key.to_tuple()
        name = self._convert_key_to_filepath(parts)  # type: ignore[no-untyped-call]  # untyped in the library
        path = Path(self.full_base_directory) / name
        write_atomically(path, value.encode() if isinstance(value, str) else value)
        return str(path)
