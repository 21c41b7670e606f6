"""Release memory that Arrow, polars and the C library keep although it is not needed."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import polars as pl
import pyarrow as pa


def compacted(rows: pl.DataFrame) -> pl.DataFrame:
    """The same rows with text of their own. A few rows chosen from many otherwise keep the text of all in memory."""
    return pl.DataFrame(rows.to_arrow(compat_level=pl.CompatLevel.oldest()), schema=rows.schema)


def release_memory() -> None:
    """Return freed memory to the operating system after a file is finished.

    Otherwise the C library keeps it per thread (80 MB after four sessions), and the worker's next task adds to it. Does
    nothing where the C library has no such call.
    """
    pa.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
