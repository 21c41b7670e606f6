"""The second opinion of a sealed extract, from what Oracle answered when it was sealed or later.

The records of the buckets in question are read by separate queries and as text: the reading and formatting of level 3
are not used, and a level 3 that continues after an interruption skips none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kpc.catalog.types import ALL, BUCKETS, PARTITION_FIELD
from kpc.errors import DamagedFile, UnusableAnswer
from kpc.ledger import FailedRecord
from kpc.load.chunk_result import read_columns
from kpc.private_files import make_private
from kpc.reconcile.second_opinion.comparison import Exceptions, OpinionCheck, RecordsSeen
from kpc.reconcile.second_opinion.opinions import Opinions, columns_with_opinions
from kpc.reconcile.second_opinion.result import SecondOpinion
from kpc.reconcile.source_rows import SourceRows
from kpc.stages.bucket_queries import BucketQueries
from kpc.stages.context import PartitionContext
from kpc.storage.parquet_file import read_slices
from kpc.storage.store import FileEntry

_SLICE_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class KeptOpinions:
    """Files in `folder` with Oracle's opinions of the rows in `buckets`, and the columns they are compared with."""

    buckets: tuple[int, ...]
    folder: Path
    chunks: tuple[FileEntry, ...]


def sealed_opinion(
    context: PartitionContext,
    kept: KeptOpinions,
    exceptions: Sequence[FailedRecord],
    queries: BucketQueries,
    source: SourceRows,
    folder: Path,
) -> SecondOpinion:
    """Compare the records with Oracle's opinions on their rows; `source` says which of these people corrected.

    `folder` holds what does not fit in memory; the caller removes it. Raises `DamagedFile`.
    """
    buckets = kept.buckets
    place = make_private(folder / "opinion")
    table = context.table
    opinions = Opinions(table, place, context.settings.hash_key.get_secret_value().encode())
    opinions.add_all(_rows(context, kept, columns_with_opinions(table)))
    seen = RecordsSeen(table, context.key, buckets, place, source.replaced())
    for records in _records(context, buckets, queries, place):
        seen.add(records)
    excepted = Exceptions.of(exceptions)
    check = OpinionCheck(table, buckets, opinions, seen, excepted, is_complete=True)
    numbers = [each.name for each in table.sent_columns if each.type is not None and each.type.is_number]
    return check.result(_rows(context, kept, [*columns_with_opinions(table)[:1], *numbers]))


def _rows(context: PartitionContext, kept: KeptOpinions, columns: list[str]) -> Iterator[pl.DataFrame]:
    remedy = f"Extract it again: `kpc rerun {context.table.name} {context.key}`."
    for chunk in kept.chunks:
        file = context.store.file(kept.folder, chunk, remedy=remedy)
        yield from read_slices(file, list(dict.fromkeys(columns)), _SLICE_ROWS, remedy=remedy)


def _records(
    context: PartitionContext, buckets: Iterable[int], queries: BucketQueries, folder: Path
) -> Iterator[pl.DataFrame]:
    """The records whose markers name these buckets, as the API sent them."""
    asked = {0} if context.key == ALL else set(buckets)
    others = {f"{context.key}/{number:03d}" for number in range(BUCKETS) if number not in asked}
    fields = (*context.table.data_header, PARTITION_FIELD)
    try:
        for _, pages in queries.records(fields, folder, without={context.key, *others}):
            for file in pages.files:
                yield from read_columns(file, fields)
    except DamagedFile:
        raise UnusableAnswer(
            f"Salesforce's records of {context} cannot be read as CSV.",
            f"Compare again: `kpc reconcile {context.table.name} {context.key}`.",
        ) from None
