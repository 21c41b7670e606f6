"""Rows as the lines of a result file.

Arrow joins the cells of all rows at once, and gives the lines as one piece of memory, in the order in which they are
to stand in the file. Nothing is copied cell by cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from kpc.emulators.salesforce.org.jobs import Job

_EMPTY_RECORD = "|^$"  # of one column: without quotes it would be no record


def as_lines(columns: Sequence[pa.Array], job: Job, quotes: str) -> pa.Array:
    """One line per row, its line end included. `columns` are text without nulls; `quotes` as in the switches."""
    if quotes == "always":
        cells, around = [_doubled(each) for each in columns], '"'
    else:
        cells, around = [_quoted(each, job.separator, only=len(columns) == 1) for each in columns], ""
    cells[0] = _join(as_text([around])[0], cells[0])
    cells[-1] = _join(cells[-1], as_text([around + job.line_end])[0])
    return _join(*cells, between=around + job.separator + around)


def as_text(values: Sequence[str] | pl.Series) -> pa.Array:
    """An Arrow array. Made by polars: Arrow would import pandas, to know its types, and take a second for it."""
    return pl.Series(values, dtype=pl.String).to_arrow().cast(pa.string())


def _join(*parts: pa.Array | pa.Scalar, between: str = "") -> pa.Array:
    return pc.binary_join_element_wise(*parts, as_text([between])[0])


def shuffled(lines: pa.Array, seed: int) -> pa.Array:
    return lines.take(pl.int_range(len(lines), eager=True).shuffle(seed).to_arrow())


def text_of_lines(lines: pa.Array) -> memoryview:
    """All lines, one after the other, as they lie in memory."""
    _, offsets, text = lines.buffers()
    ends = memoryview(offsets).cast("i")
    first, last = ends[lines.offset], ends[lines.offset + len(lines)]
    return memoryview(text or b"")[first:last]


def _doubled(cells: pa.Array) -> pa.Array:
    """Cells in which each quote is written twice."""
    text = cells.buffers()[2]
    if text is None or b'"' not in text.to_pybytes():  # of the neighbours too, when it is a slice: no harm
        return cells
    return pc.replace_substring(cells, '"', '""')


def _quoted(cells: pa.Array, separator: str, *, only: bool) -> pa.Array:
    """The cells, quoted where they could not be read back without quotes."""
    quote = as_text(['"'])[0]
    needs = pc.match_substring_regex(cells, f'["\r\n\\x{ord(separator):02x}]' + (_EMPTY_RECORD if only else ""))
    return pc.if_else(needs, _join(quote, _doubled(cells), quote), cells)
