"""Release memory that Arrow and the C library keep after it was freed."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import pyarrow as pa


def release_memory() -> None:
    """Return freed memory to the operating system after a file is finished.

    Otherwise the C library keeps it per thread (80 MB after four sessions), and the worker's next task adds to it. Does
    nothing where the C library has no such call.
    """
    pa.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
