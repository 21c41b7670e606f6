"""What a full reconciliation of a plan costs the org: bulk query jobs, bytes of results, hours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kpc.catalog.table import Table
from kpc.convert.buckets import markers
from kpc.reconcile.target_records import record_fields
from kpc.salesforce.selectivity import Selectivity
from kpc.settings import SalesforceSettings
from kpc.stages.bucket_queries import evenly, grouped

_FIELD_BYTES = 14  # of a CSV cell, including its quotation marks and comma; external ids are longer, flags shorter
_KEY_BYTES = 60  # additional bytes for the external id and for each reference to a parent
_RECORDS_PER_S = 5_000.0  # of one query job; not published: measure it with the first month
_JOB_S = 30.0  # until a job's first page can be read


@dataclass(frozen=True, slots=True)
class ReadBack:
    """`seconds` with the configured number of query jobs at once; all three are estimates."""

    jobs: int = 0
    raw_bytes: int = 0
    seconds: float = 0.0

    def __add__(self, other: ReadBack) -> ReadBack:
        return ReadBack(self.jobs + other.jobs, self.raw_bytes + other.raw_bytes, self.seconds + other.seconds)

    @property
    def hours(self) -> float:
        return self.seconds / 3600


def read_back(table: Table, partitions: Iterable[tuple[str, int]], settings: SalesforceSettings) -> ReadBack:
    """The estimate for partitions (key, rows) of a table, once all of them are loaded."""
    known = list(partitions)
    most_rows = Selectivity(settings.indexed_rows, settings.scanned_rows).most_rows(sum(rows for _, rows in known))
    width = _FIELD_BYTES * len(record_fields(table)) + _KEY_BYTES * (1 + len(table.lookups))
    total = ReadBack()
    for key, rows in known:
        jobs = len(grouped(list(zip(markers(key), evenly(rows, key), strict=True)), most_rows))
        seconds = (jobs * _JOB_S + rows / _RECORDS_PER_S) / min(jobs, settings.query_jobs_at_once)
        total += ReadBack(jobs, rows * width, seconds)
    return total
