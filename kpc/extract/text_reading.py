"""Text that arrives while extracting: checked to be UTF-8, and decoded here where the catalog names its character set.

The driver copies text into data frames unchecked, so invalid bytes of an AL32UTF8 database would reach the files. A
column with `stored_as` is read as bytes. A value that cannot be decoded is written as U+FFFF and its bytes in
hexadecimal; staging rejects the row with key and column (`text_undecodable`). A few such rows must not stop a month of
millions; many of them mean a wrong declaration, and the reading stops with the batch that shows it.
"""

from __future__ import annotations

import codecs
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from kpc.catalog.character_sets import UNICODE, letters
from kpc.catalog.table import Table
from kpc.catalog.types import Column
from kpc.convert.text import UNDECODABLE
from kpc.errors import DataUnreadable

log = logging.getLogger(__name__)

FEW_ROWS = 10  # this many undecodable rows stop no extract, whatever their share
MOST_SHARE = 0.01  # of the rows read; as staging's default for rejected rows
_SHOWN_KEYS = 5


def stored_bytes(column: Column) -> str:
    """How a text column is selected as the bytes that Oracle stores."""
    return f'UTL_RAW.CAST_TO_RAW("{column.name}")'


@dataclass(slots=True)
class TextReading:
    """Decodes the batches of one file. `what` names it in messages; `schema` is that of the decoded rows."""

    table: Table
    what: str
    schema: pa.Schema
    rows: int = 0
    undecodable: int = 0

    @property
    def fetched(self) -> pa.Schema:
        """The schema to fetch with: bytes where the column is decoded here."""
        return pa.schema(field.with_type(pa.binary()) if self._encoding(field) else field for field in self.schema)

    def decoded(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows as text. Raises `DataUnreadable` once too many of them hold text that cannot be decoded."""
        columns = list(batch.columns)
        wrong: dict[str, list[int]] = {}
        for at, field in enumerate(self.schema):
            encoding = self._encoding(field)
            if encoding is not None:
                columns[at], rows = decode(columns[at], field.type, encoding or UNICODE)
                wrong |= {field.name: rows} if rows else {}
        decoded = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        self.rows += batch.num_rows
        if wrong:
            self._report(decoded, wrong)
        return decoded

    def _encoding(self, field: pa.Field) -> str | None:
        """The character set of a text column; "" for UTF-8 as the server sent it; None for another column."""
        column = self.table.by_name.get(field.name)
        if column is None or not column.source.is_text:
            return None
        return column.stored_as or ""

    def _report(self, rows: pa.RecordBatch, wrong: dict[str, list[int]]) -> None:
        self.undecodable += len({row for found in wrong.values() for row in found})
        columns = "; ".join(self._described(rows, name, found) for name, found in wrong.items())
        if self.undecodable <= FEW_ROWS or self.undecodable <= self.rows * MOST_SHARE:
            log.warning("%s: staging will reject rows (text_undecodable): %s", self.what, columns)
            return
        raise DataUnreadable(
            f"{self.what}: {self.undecodable:,} of the first {self.rows:,} rows hold text that cannot be decoded: "
            f"{columns}.",
            f"Nothing was sealed. Correct stored_as of {', '.join(wrong)} in kpc/catalog, or have the values corrected "
            "in Oracle; `kpc preflight` shows the character sets and samples the columns.",
        )

    def _described(self, rows: pa.RecordBatch, name: str, wrong: list[int]) -> str:
        encoding = self.table.by_name[name].stored_as or "UTF-8"
        keys = ", ".join(self._key(rows, row) for row in wrong[:_SHOWN_KEYS])
        more = ", ..." if len(wrong) > _SHOWN_KEYS else ""
        return f"{self.table.name}.{name} of {len(wrong):,} rows is not {encoding}, keys {keys}{more}"

    def _key(self, rows: pa.RecordBatch, row: int) -> str:
        """The source key of a row; a personal part is masked."""
        parts = (
            "*" if column.pii is not None else str(rows.column(column.name)[row].as_py()).rstrip()
            for column in self.table.key_columns
        )
        return "|".join(parts)


def decode(values: pa.Array, wanted: pa.DataType, encoding: str) -> tuple[pa.Array, list[int]]:
    """The values as text of type `wanted`, and the rows whose bytes mean nothing in `encoding`.

    Those hold U+FFFF and their bytes in hexadecimal.
    """
    if encoding == UNICODE:
        texts = _as_text(values, wanted)
        try:
            texts.validate(full=True)
        except pa.ArrowInvalid:
            wrong = [row for row, value in enumerate(_bytes(texts)) if not _is_unicode(value)]
            return _marked(texts, texts, wrong), wrong
        return texts, []
    texts = _single_byte(values, encoding)
    wrong = [row for row, is_wrong in enumerate(pc.match_substring(texts, UNDECODABLE).to_pylist()) if is_wrong]
    return _marked(texts, values.view(pa.string()), wrong) if wrong else texts, wrong


def _as_text(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    return values if values.type == wanted else values.view(wanted)


def _single_byte(values: pa.BinaryArray, encoding: str) -> pa.StringArray:
    """All values at once: one character per byte, so the ends of the values in UTF-8 follow from sums of lengths."""
    letters_of, lengths_of = _tables(encoding)
    if len(values) == 0:
        return values.view(pa.string())
    first, last = (int(str(_offset(values, at))) for at in (0, len(values)))
    data = values.buffers()[2]
    stored = b"" if data is None else data.slice(first, last - first).to_pybytes()
    text = codecs.charmap_decode(stored, "strict", letters_of)[0].encode()
    sizes = pc.take(lengths_of, pa.Array.from_buffers(pa.uint8(), len(stored), [None, pa.py_buffer(stored)]))
    ends = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(sizes)])
    offsets = pa.Array.from_buffers(pa.int32(), len(values) + 1, [None, values.buffers()[1]], offset=values.offset)
    starts = pc.take(ends, pc.subtract(offsets, first))
    validity = pc.is_valid(values)
    whole = pa.StringArray.from_buffers(len(values), starts.buffers()[1], pa.py_buffer(text))
    return pc.if_else(validity, whole, None) if values.null_count else whole


def _offset(values: pa.BinaryArray, at: int) -> int:
    offsets = pa.Array.from_buffers(pa.int32(), len(values) + 1, [None, values.buffers()[1]], offset=values.offset)
    return int(offsets[at].as_py())


@cache
def _tables(encoding: str) -> tuple[str, pa.Int32Array]:
    table = letters(encoding, UNDECODABLE)
    return table, pa.array([len(letter.encode()) for letter in table], pa.int32())


def _bytes(texts: pa.Array) -> Iterable[bytes | None]:
    binary = pa.large_binary() if pa.types.is_large_string(texts.type) else pa.binary()
    found: list[bytes | None] = texts.view(binary).to_pylist()
    return found


def _is_unicode(value: bytes | None) -> bool:
    try:
        return value is None or value.decode() is not None
    except UnicodeDecodeError:
        return False


def _marked(texts: pa.Array, stored: pa.Array, wrong: list[int]) -> pa.Array:
    """The texts; those of the rows `wrong` as U+FFFF and their stored bytes in hexadecimal."""
    whole, given = list(_bytes(texts)), list(_bytes(stored))
    for row in wrong:
        whole[row] = f"{UNDECODABLE}{(given[row] or b'').hex().upper()}".encode()
    binary = pa.large_binary() if pa.types.is_large_string(texts.type) else pa.binary()
    return pa.array(whole, binary).view(texts.type)
