"""What an overview of a whole campaign reads: a few grouped queries, each over all partitions.

The rows hold no JSON details and no message of a server beyond a stage's error, so that thousands of partitions are
read in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, and_, case, func, select

from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.partition_filters import in_environment, in_partition
from kpc.ledger.quota_entries import known_limits
from kpc.ledger.stage_runs import RECONCILE_STAGE
from kpc.ledger.states import (
    IN_FLIGHT,
    VERDICTS,
    AttemptState,
    ChunkState,
    FailureClass,
    FailureState,
    GenerationState,
    JobPurpose,
    StageState,
)
from kpc.partition import Environment, Partition

_STAGE_RUN = schema.stage_run
_CHUNK, _JOB, _ATTEMPT, _GENERATION = schema.chunk, schema.job, schema.attempt, schema.generation
_FAILED, _LEASE = schema.failed_records, schema.lease
_COMPARED = schema.reconciliation
_MOST_ERROR = 500  # characters of a stage's error

PartitionName = tuple[str, str]  # table and key


@dataclass(frozen=True, slots=True)
class NewestRun:
    """The newest run of a stage of a partition; `error` is cut to 500 characters."""

    id: int
    table_name: str
    partition_key: str
    stage: str
    state: StageState
    rows: int | None
    generation: str | None
    run_id: str
    actor: str
    mode: str
    started_utc: datetime
    finished_utc: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class RunningLoad:
    """A load under way: rows of all its chunks, and those whose result is known or that the org has processed.

    The stage run of a load begins with its last step, the publication; until then this is what the ledger knows.
    """

    table_name: str
    partition_key: str
    generation: str
    run_id: str
    started_utc: datetime
    rows: int
    processed: int


@dataclass(frozen=True, slots=True)
class OpenFailures:
    """Rows of a partition that are missing from the org, by what must be done about them and why."""

    table_name: str
    partition_key: str
    error_class: FailureClass
    error_code: str
    rows: int


@dataclass(frozen=True, slots=True)
class Throughput:
    """Rows that Salesforce accepted in chunks that ended in the last `seconds`."""

    rows: int
    seconds: float

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class CertifiedVerdict:
    """The newest verdict of a partition that has a certificate."""

    id: int
    table_name: str
    partition_key: str
    generation: str | None
    sha256: str

    @property
    def file_name(self) -> str:
        """The certificate's name, if `id` is the run that it certifies."""
        return f"certificate-{self.id}.json"


class Overview:
    """The present state of all partitions of an environment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def environments(self) -> list[Environment]:
        """Every environment with a plan or a stage run, the one that was used last first."""
        found: dict[Environment, datetime] = {}
        queries = [
            select(table.c.source_id, table.c.target_id, func.max(at)).group_by(table.c.source_id, table.c.target_id)
            for table, at in ((schema.scope, schema.scope.c.set_utc), (_STAGE_RUN, _STAGE_RUN.c.started_utc))
        ]
        with self._database.reading() as connection:
            for query in queries:
                for source_id, target_id, at in connection.execute(query):
                    one = Environment(source_id, target_id)
                    found[one] = max(at, found.get(one, at))
        return sorted(found, key=lambda one: found[one], reverse=True)

    def newest_runs(self, environment: Environment) -> list[NewestRun]:
        """The newest run of every stage of every partition, in the order in which they started."""
        newest = (
            select(func.max(_STAGE_RUN.c.id))
            .where(in_environment(_STAGE_RUN, environment))
            .group_by(_STAGE_RUN.c.table_name, _STAGE_RUN.c.partition_key, _STAGE_RUN.c.stage)
        )
        columns = [_STAGE_RUN.c[name] for name in NewestRun.__slots__ if name != "error"]
        error = func.substr(_STAGE_RUN.c.error, 1, _MOST_ERROR).label("error")
        query = select(*columns, error).where(_STAGE_RUN.c.id.in_(newest)).order_by(_STAGE_RUN.c.id)
        with self._database.reading() as connection:
            return [NewestRun(*row) for row in _plain(connection.execute(query))]

    def running_loads(self, environment: Environment) -> list[RunningLoad]:
        """Every partition whose load is under way."""
        with self._database.reading() as connection:
            attempts = connection.execute(_running_attempts(environment)).all()
            processed = _processed_in_flight(connection, environment)
        found = []
        for attempt in attempts:
            load = RunningLoad(*attempt)
            done = load.processed + processed.get((load.table_name, load.partition_key), 0)
            found.append(replace(load, rows=int(load.rows), processed=int(min(load.rows, done))))
        return found

    def live_leases(self, environment: Environment) -> set[tuple[str, str, str]]:
        """Table, key and stage of everything that a worker holds now."""
        query = select(_LEASE.c.table_name, _LEASE.c.partition_key, _LEASE.c.stage).where(
            in_environment(_LEASE, environment),
            _LEASE.c.owner.is_not(None),
            _LEASE.c.expires_utc > self._database.clock(),
        )
        with self._database.reading() as connection:
            return {(table, key, stage) for table, key, stage in connection.execute(query)}

    def failures(self, environment: Environment) -> list[OpenFailures]:
        """The open failures of all partitions, grouped."""
        group = [_FAILED.c[name] for name in ("table_name", "partition_key", "error_class", "error_code")]
        query = (
            select(*group, func.count().label("rows"))
            .where(in_environment(_FAILED, environment), _FAILED.c.state == FailureState.OPEN)
            .group_by(*group)
            .order_by(*group)
        )
        with self._database.reading() as connection:
            return [OpenFailures(*row) for row in _plain(connection.execute(query))]

    def differing_measures(self, stage_runs: Sequence[int]) -> dict[int, list[str]]:
        """The measures in which these reconciliations found source and target to differ, by stage run."""
        query = (
            select(_COMPARED.c.stage_run, _COMPARED.c.measure)
            .where(_COMPARED.c.stage_run.in_(stage_runs), _COMPARED.c.passed.is_(False))
            .order_by(_COMPARED.c.id)
        )
        found: dict[int, list[str]] = {}
        with self._database.reading() as connection:
            for stage_run, measure in connection.execute(query) if stage_runs else ():
                found.setdefault(stage_run, []).append(measure)
        return found

    def current_generations(self, environment: Environment) -> dict[PartitionName, str]:
        """The id of the newest sealed extract of each partition."""
        newest = (
            select(_GENERATION.c.table_name, _GENERATION.c.partition_key, func.max(_GENERATION.c.ordinal).label("top"))
            .where(in_environment(_GENERATION, environment), _GENERATION.c.state == GenerationState.SEALED)
            .group_by(_GENERATION.c.table_name, _GENERATION.c.partition_key)
            .subquery()
        )
        same = [_GENERATION.c[name] == newest.c[name] for name in ("table_name", "partition_key")]
        query = (
            select(_GENERATION.c.table_name, _GENERATION.c.partition_key, _GENERATION.c.id)
            .join(newest, and_(*same, _GENERATION.c.ordinal == newest.c.top))
            .where(in_environment(_GENERATION, environment))
        )
        with self._database.reading() as connection:
            return {(table, key): generation for table, key, generation in connection.execute(query)}

    def certified_verdicts(self, environment: Environment) -> list[CertifiedVerdict]:
        """The newest verdict of every partition, with the sha256 of its certificate; those without one are left out."""
        newest = (
            select(func.max(_STAGE_RUN.c.id))
            .where(in_environment(_STAGE_RUN, environment), _STAGE_RUN.c.stage == RECONCILE_STAGE)
            .where(_STAGE_RUN.c.state.in_(VERDICTS))
            .group_by(_STAGE_RUN.c.table_name, _STAGE_RUN.c.partition_key)
        )
        columns = [_STAGE_RUN.c[name] for name in ("id", "table_name", "partition_key", "generation")]
        query = select(*columns, _STAGE_RUN.c.detail).where(_STAGE_RUN.c.id.in_(newest)).order_by(_STAGE_RUN.c.id)
        with self._database.reading() as connection:
            return [
                CertifiedVerdict(run, table, key, generation, sha256)
                for run, table, key, generation, detail in _plain(connection.execute(query))
                if (sha256 := _certificate(detail))
            ]

    def certificate_of(self, environment: Environment, partition: Partition) -> CertifiedVerdict | None:
        """The newest verdict of one partition that has a certificate."""
        query = (
            select(_STAGE_RUN)
            .where(in_partition(_STAGE_RUN, environment, partition), _STAGE_RUN.c.stage == RECONCILE_STAGE)
            .where(_STAGE_RUN.c.state.in_(VERDICTS))
            .order_by(_STAGE_RUN.c.id.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None or not (sha256 := _certificate(row["detail"])):
            return None
        certified_by = row["detail"].get("certified_by", row["id"])
        return CertifiedVerdict(certified_by, partition.table.name, partition.key, row["generation"], sha256)

    def org_batches(self, target_id: str) -> int:
        """Batches that the org allows in any 24 h, as it said last; 0 if it was not asked yet."""
        with self._database.reading() as connection:
            known = known_limits(connection, target_id)
        return int(known["batches_max"]) if known else 0

    def throughput(self, environment: Environment, window: timedelta) -> Throughput:
        """The rate of the loads in the last `window`; of a campaign that is younger, since its first chunk."""
        now = self._database.clock()
        since = now - window
        query = select(func.coalesce(func.sum(_CHUNK.c.loaded), 0), func.min(_CHUNK.c.planned_utc)).where(
            in_environment(_CHUNK, environment), _CHUNK.c.state == ChunkState.DONE, _CHUNK.c.finished_utc > since
        )
        with self._database.reading() as connection:
            rows, first_utc = connection.execute(query).one()
        began = max(since, first_utc) if first_utc else since
        return Throughput(int(rows), max(1.0, (now - began).total_seconds()))


def _plain(rows: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Rows as tuples: thousands of them are built into objects by position."""
    return (tuple(row) for row in rows)


def _certificate(detail: dict[str, Any] | None) -> str:
    return str((detail or {}).get("certificate", ""))


def _running_attempts(environment: Environment) -> Select[Any]:
    """Of each running attempt: the facts of `RunningLoad`, `processed` as the rows of the chunks that have ended."""
    known = func.coalesce(func.sum(case((_CHUNK.c.state == ChunkState.DONE, _CHUNK.c.rows), else_=0)), 0)
    names = ("table_name", "partition_key", "generation", "run_id", "started_utc")
    columns = [_ATTEMPT.c[name] for name in names]
    its_chunks = and_(
        _CHUNK.c.generation == _ATTEMPT.c.generation, _CHUNK.c.mapping_version == _ATTEMPT.c.mapping_version
    )
    return (
        select(*columns, func.coalesce(func.sum(_CHUNK.c.rows), 0), known)
        .outerjoin(_CHUNK, its_chunks)
        .where(in_environment(_ATTEMPT, environment), _ATTEMPT.c.state == AttemptState.RUNNING)
        .group_by(*columns)
    )


def _processed_in_flight(connection: Connection, environment: Environment) -> dict[PartitionName, int]:
    query = (
        select(_JOB.c.table_name, _JOB.c.partition_key, func.coalesce(func.sum(_JOB.c.processed), 0))
        .where(in_environment(_JOB, environment), _JOB.c.state.in_(IN_FLIGHT), _JOB.c.purpose == JobPurpose.CHUNK)
        .group_by(_JOB.c.table_name, _JOB.c.partition_key)
    )
    return {(table, key): int(processed) for table, key, processed in connection.execute(query)}
