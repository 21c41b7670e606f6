"""Rows that were not loaded: why, and whether they have been repaired (table migration_failed_records)."""

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
from kpc.ledger.partition_filters import in_environment, in_partition, partition_values
from kpc.ledger.states import FailureClass, FailureState
from kpc.partition import Environment, Partition

_FAILED_RECORD = schema.failed_records
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class RowFailure:
    """Why one row was not loaded. `message` holds no personal value."""

    external_id: str
    error_code: str
    error_class: FailureClass
    message: str
    fields: tuple[str, ...]
    attempts: int
    job_id: str | None


@dataclass(frozen=True, slots=True)
class FailedRecord:
    """A failure as the ledger keeps it, with its partition, generation and chunk."""

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
    error_class: FailureClass
    message: str
    fields: list[str]
    attempts: int
    state: FailureState
    first_utc: datetime
    last_utc: datetime


class Failures:
    """The rows of every partition that were not loaded."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def replace(
        self, generation: str, mapping_version: str, chunk: str, failures: Iterable[RowFailure], *, lease: Lease
    ) -> int:
        """Replace the recorded failures of a chunk; returns how many there are now."""
        now, count, source = self._database.clock(), 0, iter(failures)
        fixed = {
            **partition_values(lease.environment, lease.partition),
            "generation": generation,
            "mapping_version": mapping_version,
            "chunk": chunk,
        }
        with self._database.writing(lease) as connection:
            connection.execute(
                delete(_FAILED_RECORD).where(
                    _FAILED_RECORD.c.generation == generation,
                    _FAILED_RECORD.c.mapping_version == mapping_version,
                    _FAILED_RECORD.c.chunk == chunk,
                )
            )
            while block := [
                {**fixed, **_columns(failure), "state": FailureState.OPEN, "first_utc": now, "last_utc": now}
                for failure in islice(source, _ROWS_AT_ONCE)
            ]:
                connection.execute(insert(_FAILED_RECORD), block)
                count += len(block)
        return count

    def resolve(self, generation: str, mapping_version: str, *, lease: Lease) -> int:
        """Close the partition's open failures of other generations and mappings, after this one has loaded.

        Rows that failed again are open under this one. Returns how many were closed.
        """
        with self._database.writing(lease) as connection:
            closed = connection.execute(
                update(_FAILED_RECORD)
                .where(
                    in_partition(_FAILED_RECORD, lease.environment, lease.partition),
                    or_(_FAILED_RECORD.c.generation != generation, _FAILED_RECORD.c.mapping_version != mapping_version),
                    _FAILED_RECORD.c.state == FailureState.OPEN,
                )
                .values(state=FailureState.RESOLVED, last_utc=self._database.clock())
            )
        return closed.rowcount

    def of_partition(
        self, environment: Environment, partition: Partition, *, limit: int | None = None
    ) -> list[FailedRecord]:
        """The open failures of a partition, by external id."""
        query = (
            select(_FAILED_RECORD)
            .where(in_partition(_FAILED_RECORD, environment, partition), _FAILED_RECORD.c.state == FailureState.OPEN)
            .order_by(_FAILED_RECORD.c.external_id, _FAILED_RECORD.c.id)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [FailedRecord(**row) for row in connection.execute(query).mappings()]

    def causes(self, environment: Environment, partition: Partition) -> list[tuple[str, str, int]]:
        """How many open failures a partition has, as (class, error code, rows)."""
        kinds = (_FAILED_RECORD.c.error_class, _FAILED_RECORD.c.error_code)
        query = (
            select(*kinds, func.count())
            .where(in_partition(_FAILED_RECORD, environment, partition), _FAILED_RECORD.c.state == FailureState.OPEN)
            .group_by(*kinds)
            .order_by(*kinds)
        )
        with self._database.reading() as connection:
            return [(found.value, code, int(rows)) for found, code, rows in connection.execute(query)]

    def count_of_class(self, environment: Environment, table: Table, error_class: FailureClass) -> int:
        """How many open failures of one class a table has, in all its partitions."""
        query = select(func.count()).where(
            in_environment(_FAILED_RECORD, environment),
            _FAILED_RECORD.c.table_name == table.name,
            _FAILED_RECORD.c.error_class == error_class,
            _FAILED_RECORD.c.state == FailureState.OPEN,
        )
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def counts(self, environment: Environment) -> Sequence[tuple[str, str, str, int]]:
        """Open failures as (table name, partition key, error code, rows), for the whole migration."""
        query = (
            select(
                _FAILED_RECORD.c.table_name, _FAILED_RECORD.c.partition_key, _FAILED_RECORD.c.error_code, func.count()
            )
            .where(in_environment(_FAILED_RECORD, environment), _FAILED_RECORD.c.state == FailureState.OPEN)
            .group_by(_FAILED_RECORD.c.table_name, _FAILED_RECORD.c.partition_key, _FAILED_RECORD.c.error_code)
            .order_by(_FAILED_RECORD.c.table_name, _FAILED_RECORD.c.partition_key, _FAILED_RECORD.c.error_code)
        )
        with self._database.reading() as connection:
            return [(row[0], row[1], row[2], int(row[3])) for row in connection.execute(query)]


def _columns(failure: RowFailure) -> dict[str, object]:
    return {name: getattr(failure, name) for name in RowFailure.__slots__}
