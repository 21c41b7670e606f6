"""Queries of one partition's records, some of its buckets at a time, so that each can use the index on the markers.

A query that Salesforce ends because it takes too long is repeated with half of the buckets, down to one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpc.catalog.types import PARTITION_FIELD
from kpc.convert.buckets import bucket_count, markers
from kpc.private_files import make_private
from kpc.retry_policy import retried
from kpc.salesforce.query import QueryPages, QueryTooLong
from kpc.salesforce.selectivity import Selectivity
from kpc.salesforce.soql import text_literal
from kpc.storage.prefetch import map_in_parallel

if TYPE_CHECKING:
    from kpc.salesforce.page_reading import PageReader
    from kpc.stages.context import PartitionContext

log = logging.getLogger(__name__)

_LEAST_LIMIT = 10_000  # of a bulk query that should find fewer records


@dataclass(frozen=True, slots=True)
class BucketGroup:
    """What one query reads: markers, and roughly how many records have them."""

    markers: tuple[str, ...]
    rows: int

    @property
    def condition(self) -> str:
        """The SOQL condition, which can use the index on the marker field."""
        return f"{PARTITION_FIELD} IN ({', '.join(map(text_literal, self.markers))})"

    def halves(self) -> tuple[BucketGroup, BucketGroup]:
        middle = len(self.markers) // 2
        first = BucketGroup(self.markers[:middle], self.rows // 2)
        return first, BucketGroup(self.markers[middle:], self.rows - first.rows)

    def __str__(self) -> str:
        first, last = self.markers[0], self.markers[-1]
        return first if first == last else f"{first} to {last}"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What each group's query selects."""

    fields: tuple[str, ...]
    also: str  # an additional condition
    reader: PageReader | None


def grouped(expected: Sequence[tuple[str, int]], most_rows: int | None) -> list[BucketGroup]:
    """Markers with their expected records, in groups of at most `most_rows` records (None: one group)."""
    groups: list[BucketGroup] = []
    names: list[str] = []
    rows = 0
    for name, count in expected:
        if names and most_rows is not None and rows + count > most_rows:
            groups.append(BucketGroup(tuple(names), rows))
            names, rows = [], 0
        names.append(name)
        rows += count
    return [*groups, BucketGroup(tuple(names), rows)]


class BucketQueries:
    """`expected`: roughly how many records each bucket has, ascending. See `evenly` if only their sum is known."""

    def __init__(self, context: PartitionContext, expected: Sequence[int]) -> None:
        self._context = context
        self._expected = expected
        self._grouping = threading.Lock()

    @property
    def _object(self) -> str:
        return self._context.table.target

    @property
    def groups(self) -> list[BucketGroup]:
        """All buckets, and the marker without a bucket that older versions wrote, in groups small enough for the index.

        Threads may call this concurrently; the org is asked only once.
        """
        with self._grouping:
            return self._groups

    @cached_property
    def _groups(self) -> list[BucketGroup]:
        salesforce, settings = self._context.salesforce, self._context.settings.salesforce
        rows = sum(self._expected)
        selectivity = Selectivity(settings.indexed_rows, settings.scanned_rows)
        object_rows = salesforce.record_counts([self._object]).get(self._object, 0)
        most_rows = selectivity.most_rows(max(rows, object_rows))
        return self._grouped(most_rows)

    @cached_property
    def record_groups(self) -> list[BucketGroup]:
        """Like `groups`, but with fewer records each, so that the comparison of one group fits in memory."""
        most = self._context.settings.reconcile.records_at_once
        return [part for group in self.groups for part in self._grouped(most, set(group.markers))]

    def _grouped(self, most_rows: int | None, only: Set[str] | None = None) -> list[BucketGroup]:
        return grouped([each for each in self._counted if only is None or each[0] in only], most_rows)

    @property
    def _counted(self) -> list[tuple[str, int]]:
        """All markers with their expected records; first the one of older versions, which names no bucket."""
        return [(self._context.key, 0), *zip(markers(self._context.key), self._expected, strict=True)]

    @property
    def buckets(self) -> int:
        """The number of markers."""
        return 1 + len(self._expected)

    def aggregates(self, selected: str) -> Iterator[dict[str, Any]]:
        """The records of `SELECT Migration_Partition__c, <selected> ... GROUP BY Migration_Partition__c`, by marker.

        A marker without records is absent. Several queries run at the same time.
        """
        at_once = self._context.settings.salesforce.query_jobs_at_once
        for rows in map_in_parallel(partial(self._aggregates, selected), self.groups, at_once):
            yield from rows

    def _aggregates(self, selected: str, group: BucketGroup) -> list[dict[str, Any]]:
        # All parts come from the catalog and our own code.
        soql = (
            f"SELECT {PARTITION_FIELD}, {selected} FROM {self._object} WHERE {group.condition} "  # noqa: S608
            f"GROUP BY {PARTITION_FIELD}"
        )
        try:
            return retried(lambda: list(self._context.salesforce.query(soql)))
        except QueryTooLong as error:
            return [row for half in self._halves(group, error) for row in self._aggregates(selected, half)]

    def records(
        self,
        fields: Sequence[str],
        folder: Path,
        *,
        also: str = "",
        without: Set[str] = frozenset(),
        reader: PageReader | None = None,
    ) -> Iterator[tuple[BucketGroup, QueryPages]]:
        """Each group's records by a bulk query, except those of markers `without`; `also` is an additional condition.

        Queries run ahead while the caller uses an earlier result, whose files are removed afterwards. `reader` reads
        each page as it arrives, in the queries' threads.
        """
        asked = _Asked(tuple(fields), also, reader)

        def read(item: tuple[int, BucketGroup]) -> list[tuple[BucketGroup, QueryPages]]:
            number, group = item
            return self._read(group, make_private(folder / f"group-{number:03d}"), asked)

        at_once = self._context.settings.salesforce.query_jobs_at_once
        left = [part for group in self.record_groups if (part := self._without(group, without)) is not None]
        for parts in map_in_parallel(read, enumerate(left), at_once):
            for group, pages in parts:
                with ExitStack() as scope:
                    for file in pages.files:
                        scope.callback(file.unlink, missing_ok=True)
                    yield group, pages

    def _without(self, group: BucketGroup, known: Set[str]) -> BucketGroup | None:
        if known.isdisjoint(group.markers):
            return group
        names = tuple(name for name in group.markers if name not in known)
        rows = sum(count for name, count in self._counted if name in names)
        return BucketGroup(names, rows) if names else None

    def _read(self, group: BucketGroup, folder: Path, asked: _Asked) -> list[tuple[BucketGroup, QueryPages]]:
        # With a LIMIT the index is used; without, Salesforce reads the whole object in ranges of ids.
        limit = max(2 * group.rows, _LEAST_LIMIT)
        where = f"{group.condition} AND {asked.also}" if asked.also else group.condition
        context = self._context
        try:
            while True:
                soql = f"SELECT {', '.join(asked.fields)} FROM {self._object} WHERE {where} LIMIT {limit}"  # noqa: S608
                pages = context.governor.bulk_query(
                    context.salesforce, soql, folder, rows=group.rows, reader=asked.reader
                )
                if pages.rows < limit:
                    return [(group, pages)]
                limit *= 4  # far more records than expected
        except QueryTooLong as error:
            halves = enumerate(self._halves(group, error))
            return [part for place, half in halves for part in self._read(half, folder / str(place), asked)]

    def _halves(self, group: BucketGroup, error: QueryTooLong) -> tuple[BucketGroup, ...]:
        """The two halves of the group. Raises the error if the group has a single marker."""
        if len(group.markers) == 1:
            raise error
        log.warning("%s: the query of %s took too long; splitting it", self._context, group)
        return group.halves()


def evenly(rows: int, key: str) -> list[int]:
    """`rows` records divided over the buckets of a partition: SHA-256 distributes them evenly."""
    count = bucket_count(key)
    return [rows // count + (number < rows % count) for number in range(count)]
