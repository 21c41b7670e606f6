"""Import Great Expectations without its log output and without the parts that only its charts and statistics need."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

# Great Expectations imports these at module level but uses them only in functions that we never call (distribution
# tests and their charts). The standard library's LazyLoader defers them until first use, which saves a third of the
# import time (measured).
_DEFERRED = ("scipy.stats", "altair")


class _DeferringFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _DEFERRED:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, Loader):
            spec.loader = LazyLoader(spec.loader)
        return spec


def import_great_expectations() -> None:
    """Import the library; afterwards an ordinary `import great_expectations` costs nothing.

    Its logger is first set to WARNING, because under Airflow's logging the import alone writes hundreds of INFO lines.
    """
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    if "great_expectations" in sys.modules:
        return
    finder = _DeferringFinder()
    sys.meta_path.insert(0, finder)
    try:
        with _collection_paused():
            import great_expectations  # noqa: F401, PLC0415  the point of this function
    finally:
        sys.meta_path.remove(finder)


@contextmanager
def _collection_paused() -> Iterator[None]:
    """Disable garbage collection, which finds nothing during imports and takes a sixth of their time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
