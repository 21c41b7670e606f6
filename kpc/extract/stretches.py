"""Control totals and chunk boundaries of a large table from one scan of it, without sorting its rows.

A stretch is a run of neighbouring blocks, named by the first letters of its rows' ROWIDs. Oracle computes the totals of
each stretch (a GROUP BY with some tens of thousands of groups, which needs no TEMP); added up here they are the totals
of the partition, and neighbouring stretches make up a chunk.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal

from kpc.extract.control_totals_answer import control_totals_of
from kpc.partition import Partition
from kpc.storage.manifests import Aggregate, ControlTotals, NumberTotal

# Below this many rows in the table, numbering the rows of a partition is cheap, and its chunks are of one size.
LARGE_ROWS = 2_000_000
_EXACT = Context(prec=200)  # a sum of sums has more digits than Decimal's default keeps
_ROWID_LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
_PLACES = str.maketrans({letter: chr(33 + place) for place, letter in enumerate(_ROWID_LETTERS)})


@dataclass(frozen=True, slots=True)
class StretchTotals:
    """The rows of one month (or partition) in a stretch of blocks: its first and last ROWID, and Oracle's totals."""

    key: str
    rowids: tuple[str, str]
    totals: ControlTotals

    @property
    def place(self) -> str:
        """Sorts as Oracle sorts ROWIDs: their text uses an alphabet that ASCII orders otherwise."""
        return self.rowids[0].translate(_PLACES)


@dataclass(frozen=True, slots=True)
class StretchChunk:
    """A range of ROWIDs, the rows in it, and the months that they belong to."""

    rowids: tuple[str, str]
    rows: int
    keys: tuple[str, ...]


def read_stretches(partition: Partition, answer: Iterable[Sequence[object]]) -> list[StretchTotals]:
    """Oracle's answer, in ROWID order."""
    found = [
        StretchTotals(str(key), (str(first), str(last)), control_totals_of(partition.table, numbers))
        for key, first, last, *numbers in answer
    ]
    return sorted(found, key=lambda stretch: stretch.place)


def chunks_of(stretches: Sequence[StretchTotals], chunk_rows: int) -> list[StretchChunk]:
    """Chunks of at most `chunk_rows` rows, or of one stretch that has more. `stretches` are in ROWID order.

    The months of one stretch overlap, so they stay in one chunk.
    """
    chunks: list[list[StretchTotals]] = []
    rows, last = 0, ""
    for stretch in stretches:
        is_apart = stretch.place > last
        if not chunks or (is_apart and rows + stretch.totals.rows > chunk_rows):
            chunks.append([])
            rows = 0
        chunks[-1].append(stretch)
        rows += stretch.totals.rows
        last = max(last, stretch.rowids[1].translate(_PLACES))
    return [_chunk(chunk) for chunk in chunks]


def _chunk(stretches: Sequence[StretchTotals]) -> StretchChunk:
    last = max((stretch.rowids[1] for stretch in stretches), key=lambda rowid: rowid.translate(_PLACES))
    keys = tuple(sorted({stretch.key for stretch in stretches}))
    return StretchChunk((stretches[0].rowids[0], last), sum(one.totals.rows for one in stretches), keys)


def added_up(totals: Sequence[ControlTotals]) -> ControlTotals:
    """The totals of several parts as one. `totals` must not be empty."""
    return ControlTotals(
        rows=sum(one.rows for one in totals),
        measures=tuple(_measure(parts) for parts in zip(*(one.measures for one in totals), strict=True)),
        numbers=tuple(_number(parts) for parts in zip(*(one.numbers for one in totals), strict=True)),
    )


def _measure(parts: Sequence[Aggregate]) -> Aggregate:
    return Aggregate(
        column=parts[0].column,
        sum=_sum(part.sum for part in parts),
        min=min((part.min for part in parts if part.min is not None), default=None),
        max=max((part.max for part in parts if part.max is not None), default=None),
        count=sum(part.count for part in parts),
    )


def _number(parts: Sequence[NumberTotal]) -> NumberTotal:
    counts = [part.count for part in parts if part.count is not None]
    return NumberTotal(
        column=parts[0].column,
        sum=_sum(part.sum for part in parts),
        count=sum(counts) if counts else None,
        rounded=sum(part.rounded for part in parts),
        unreadable=sum(part.unreadable for part in parts),
    )


def _sum(values: Iterable[Decimal | None]) -> Decimal | None:
    total = None
    for value in values:
        if value is not None:
            total = value if total is None else _EXACT.add(total, value)
    return total
