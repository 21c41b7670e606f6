"""migration_failed_records: what Salesforce refused, why, and whether it was repaired since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from sqlalchemy import delete, func, insert, or_, select, update

from kpc.catalog import Table
from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.fencing import Lease
from kpc.ledger.places import at, here, place
from kpc.partition import Partition
from kpc.storage.store import Environment

_TABLE = schema.failed_records
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one row was not loaded. `message` carries no personal value; `error_class` says what to do about it."""

    external_id: str
    error_code: str
    error_class: str  # transient | dependency | data | org | unprocessed
    message: str
    fields: tuple[str, ...]
    attempts: int
    job_id: str | None


@dataclass(frozen=True, slots=True)
class FailedRecord:
    """A failure with its place, as the ledger keeps it. `state` is open or resolved."""

    id: int
    source_id: str
    target_id: str
    table_name: str
    partition_key: str
    generation: str
    mapping_version: str
    chunk: str
    job_id: str | None
    external_id: str
    error_code: str
    error_class: str
    message: str
    fields: list[str]
    attempts: int
    state: str
    first_utc: datetime
    last_utc: datetime


class FailedRecords(Database):
    def replace_failures(
        self, generation: str, mapping_version: str, chunk: str, failures: Iterable[Failure], *, lease: Lease
    ) -> int:
        """Note the failures of a chunk, in place of any noted for it before; returns how many."""
        now, count, source = self.clock(), 0, iter(failures)
        fixed = {
            **place(lease.environment, lease.partition),
            "generation": generation,
            "mapping_version": mapping_version,
            "chunk": chunk,
        }
        with self.writing(lease) as connection:
            connection.execute(
                delete(_TABLE).where(
                    _TABLE.c.generation == generation,
                    _TABLE.c.mapping_version == mapping_version,
                    _TABLE.c.chunk == chunk,
                )
            )
            while block := [
                {**fixed, **_columns(failure), "state": "open", "first_utc": now, "last_utc": now}
                for failure in islice(source, _ROWS_AT_ONCE)
            ]:
                connection.execute(insert(_TABLE), block)
                count += len(block)
        return count

    def resolve_failures(self, generation: str, mapping_version: str, *, lease: Lease) -> int:
        """Close the partition's open failures of other generations and mappings: this one has loaded since.

        What failed again is open under this one; returns how many were closed.
        """
        with self.writing(lease) as connection:
            closed = connection.execute(
                update(_TABLE)
                .where(
                    at(_TABLE, lease.environment, lease.partition),
                    or_(_TABLE.c.generation != generation, _TABLE.c.mapping_version != mapping_version),
                    _TABLE.c.state == "open",
                )
                .values(state="resolved", last_utc=self.clock())
            )
        return closed.rowcount

    def failed_records(
        self, environment: Environment, partition: Partition, *, limit: int | None = None
    ) -> list[FailedRecord]:
        """The open failures of a partition, by external id."""
        query = (
            select(_TABLE)
            .where(at(_TABLE, environment, partition), _TABLE.c.state == "open")
            .order_by(_TABLE.c.external_id, _TABLE.c.id)
            .limit(limit)
        )
        with self.reading() as connection:
            return [FailedRecord(**row) for row in connection.execute(query).mappings()]

    def failures_of_class(self, environment: Environment, table: Table, error_class: str) -> int:
        """How many open failures of one class a table has, in all its partitions."""
        query = select(func.count()).where(
            here(_TABLE, environment),
            _TABLE.c.table_name == table.name,
            _TABLE.c.error_class == error_class,
            _TABLE.c.state == "open",
        )
        with self.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def failure_counts(self, environment: Environment) -> Sequence[tuple[str, str, str, int]]:
        """Open failures as (table name, partition key, error code, rows), for the whole migration."""
        query = (
            select(_TABLE.c.table_name, _TABLE.c.partition_key, _TABLE.c.error_code, func.count())
            .where(here(_TABLE, environment), _TABLE.c.state == "open")
            .group_by(_TABLE.c.table_name, _TABLE.c.partition_key, _TABLE.c.error_code)
            .order_by(_TABLE.c.table_name, _TABLE.c.partition_key, _TABLE.c.error_code)
        )
        with self.reading() as connection:
            return [(row[0], row[1], row[2], int(row[3])) for row in connection.execute(query)]


def _columns(failure: Failure) -> dict[str, object]:
    return {name: getattr(failure, name) for name in Failure.__slots__}
