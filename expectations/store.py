"""A Great Expectations store backend that writes files atomically.

Several Airflow tasks store results while another reads them to build the pages; the library's own backend writes in
place. Great Expectations finds this class by its name in great_expectations.yml; importing this module also registers
the expectation of `expectations.equality`.
"""

from __future__ import annotations

import json
from copy import copy
from pathlib import Path
from typing import Any

from great_expectations.data_context.store import validation_results_store as library
from great_expectations.data_context.store.tuple_store_backend import TupleFilesystemStoreBackend

from expectations import equality
from expectations.files import write_atomically

__all__ = ["AtomicFilesystemStoreBackend", "ValidationResultsStore", "equality"]


class AtomicFilesystemStoreBackend(TupleFilesystemStoreBackend):
    def _set(self, key: Any, value: str | bytes, **kwargs: Any) -> str:  # type: ignore[override]  # as its parent does
        del kwargs
        parts = key if isinstance(key, tuple) else key.to_tuple()
        name = self._convert_key_to_filepath(parts)  # type: ignore[no-untyped-call]  # untyped in the library
        path = Path(self.full_base_directory) / name
        write_atomically(path, value.encode() if isinstance(value, str) else value)
        return str(path)


class ValidationResultsStore(library.ValidationResultsStore):
    """Writes the library's JSON of a result, each part once; the library makes, copies and filters it twice.

    It has the library's name, because a project without a store of that name uses the default one.
    """

    def serialize(self, value: Any) -> Any:
        without_parts = copy(value)
        without_parts.results = []
        parts = [part.to_json_dict() for part in value.results]
        return json.dumps(
            without_parts.to_json_dict() | {"results": parts}, indent=2, sort_keys=True, ensure_ascii=False
        )
