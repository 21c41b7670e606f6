"""Memory that Arrow and the C library keep although nothing uses it any more."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import pyarrow as pa


def give_back_memory() -> None:
    """Return to the system what a finished file no longer needs.

    Otherwise the C library keeps it per thread (80 MB after four sessions), and whatever the worker does next comes on
    top. Where the library has no such call nothing happens.
    """
    pa.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
