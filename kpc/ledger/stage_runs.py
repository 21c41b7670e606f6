"""Stage runs: who ran which stage of which partition, on which generation, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, update

from kpc.ledger import schema
from kpc.ledger.database import Database, inserted_id
from kpc.ledger.fencing import Lease
from kpc.ledger.generations import GenerationRow, Generations
from kpc.ledger.partition_filters import in_environment, in_partition, partition_values
from kpc.ledger.states import VERDICTS, StageState
from kpc.partition import Environment, Partition

STAGING_STAGE = "staged_csv"
LOAD_STAGE = "sf_loaded"
RECONCILE_STAGE = "reconciled"
CAUSE = "cause"  # key of the detail of a failed run: the error's class

_STAGE_RUN = schema.stage_run


@dataclass(frozen=True, slots=True)
class StageRun:
    """One run of a stage. Its results are None until it has ended."""

    id: int
    source_id: str
    target_id: str
    table_name: str
    partition_key: str
    stage: str
    generation: str | None
    mapping_version: str | None
    run_id: str
    actor: str
    mode: str
    state: StageState
    rows: int | None
    bytes: int | None
    detail: dict[str, Any] | None
    error: str | None
    started_utc: datetime
    finished_utc: datetime | None


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A stage run that has ended, without its results."""

    id: int
    table_name: str
    partition_key: str
    stage: str
    generation: str | None
    actor: str
    state: StageState
    rows: int | None
    started_utc: datetime
    finished_utc: datetime


class StageRuns:
    """All runs of all stages; the newest run of a stage gives its partition's state."""

    def __init__(self, database: Database, generations: Generations) -> None:
        self._database = database
        self._generations = generations

    def start(  # noqa: PLR0913  each is a fact of the audit trail
        self,
        environment: Environment,
        partition: Partition,
        stage: str,
        *,
        generation: str | None,
        mapping_version: str | None,
        run_id: str,
        actor: str,
        mode: str,
        lease: Lease | None = None,
    ) -> int:
        """Record the start of a stage run; returns the id for `finish` or `fail`."""
        with self._database.writing(lease) as connection:
            added = connection.execute(
                insert(_STAGE_RUN).values(
                    **partition_values(environment, partition),
                    stage=stage,
                    generation=generation,
                    mapping_version=mapping_version,
                    run_id=run_id,
                    actor=actor,
                    mode=mode,
                    state=StageState.RUNNING,
                    started_utc=self._database.clock(),
                )
            )
        return inserted_id(added)

    def finish(
        self,
        stage_run: int,
        *,
        state: StageState,
        rows: int,
        bytes: int,  # noqa: A002  the result's word
        detail: dict[str, Any],
        lease: Lease,
        generation: str | None = None,
        mapping_version: str | None = None,
    ) -> None:
        """Record how a stage ended; `generation` and `mapping_version` if they were not known at its start."""
        known = {"generation": generation, "mapping_version": mapping_version}
        with self._database.writing(lease) as connection:
            connection.execute(
                update(_STAGE_RUN)
                .where(_STAGE_RUN.c.id == stage_run)
                .values(
                    state=state,
                    rows=rows,
                    bytes=bytes,
                    detail=detail,
                    finished_utc=self._database.clock(),
                    **{name: value for name, value in known.items() if value is not None},
                )
            )

    def fail(self, stage_run: int, error: str, *, state: StageState = StageState.FAILED, cause: str = "") -> None:
        """Record why a run ended without a result; `cause` is the error's class.

        Needs no lease, because losing the lease is one of the reasons.
        """
        detail = {"detail": {CAUSE: cause}} if cause else {}
        with self._database.writing() as connection:
            connection.execute(
                update(_STAGE_RUN)
                .where(_STAGE_RUN.c.id == stage_run, _STAGE_RUN.c.state == StageState.RUNNING)
                .values(state=state, error=error, finished_utc=self._database.clock(), **detail)
            )

    def last(
        self, environment: Environment, partition: Partition, stage: str, *, generation: str | None = None
    ) -> StageRun | None:
        """The newest run of a stage; with `generation`, the newest on that generation."""
        query = select(_STAGE_RUN).where(in_partition(_STAGE_RUN, environment, partition), _STAGE_RUN.c.stage == stage)
        if generation is not None:
            query = query.where(_STAGE_RUN.c.generation == generation)
        with self._database.reading() as connection:
            row = connection.execute(query.order_by(_STAGE_RUN.c.id.desc()).limit(1)).mappings().one_or_none()
        return StageRun(**row) if row else None

    def staged_before(self, environment: Environment, partition: Partition, generation: str) -> list[tuple[str, str]]:
        """Generation and mapping version of everything staged from older extracts of the partition."""
        rows = schema.generation
        ordinal = select(rows.c.ordinal).where(rows.c.id == generation).scalar_subquery()
        query = (
            select(_STAGE_RUN.c.generation, _STAGE_RUN.c.mapping_version)
            .join(rows, rows.c.id == _STAGE_RUN.c.generation)
            .where(
                in_partition(_STAGE_RUN, environment, partition),
                _STAGE_RUN.c.stage == STAGING_STAGE,
                _STAGE_RUN.c.state == StageState.DONE,
            )
            .where(rows.c.ordinal < ordinal, _STAGE_RUN.c.mapping_version.is_not(None))
            .group_by(rows.c.ordinal, _STAGE_RUN.c.generation, _STAGE_RUN.c.mapping_version)
            .order_by(rows.c.ordinal, _STAGE_RUN.c.mapping_version)
        )
        with self._database.reading() as connection:
            return [(row.generation, row.mapping_version) for row in connection.execute(query)]

    def mapping_versions(self, generation: str) -> list[str]:
        """The mapping versions under which a generation was staged or loaded."""
        query = (
            select(_STAGE_RUN.c.mapping_version)
            .where(_STAGE_RUN.c.generation == generation, _STAGE_RUN.c.mapping_version.is_not(None))
            .distinct()
            .order_by(_STAGE_RUN.c.mapping_version)
        )
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def loaded_generation(self, environment: Environment, partition: Partition) -> GenerationRow | None:
        """The newest generation whose load is complete, even if a newer one has been extracted."""
        query = (
            select(_STAGE_RUN.c.generation)
            .where(
                in_partition(_STAGE_RUN, environment, partition),
                _STAGE_RUN.c.stage == LOAD_STAGE,
                _STAGE_RUN.c.state == StageState.DONE,
            )
            .order_by(_STAGE_RUN.c.id.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            found = connection.execute(query).scalar_one_or_none()
        return self._generations.find(found) if found else None

    def is_loaded(self, environment: Environment, partition: Partition) -> bool:
        """Whether the partition's current generation has been loaded."""
        return self.loaded_version(environment, partition) is not None

    def loaded_version(self, environment: Environment, partition: Partition) -> str | None:
        """The mapping version under which the current generation was loaded last; None if it is not loaded."""
        current = self._generations.current(environment, partition)
        if current is None:
            return None
        query = (
            select(_STAGE_RUN.c.mapping_version)
            .where(
                in_partition(_STAGE_RUN, environment, partition),
                _STAGE_RUN.c.stage == LOAD_STAGE,
                _STAGE_RUN.c.generation == current.id,
                _STAGE_RUN.c.state == StageState.DONE,
            )
            .order_by(_STAGE_RUN.c.id.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            version: str | None = connection.execute(query).scalar_one_or_none()
        return version

    def reconciliation_state(self, environment: Environment, partition: Partition) -> StageState | None:
        """How the current generation's newest finished reconciliation ended; None if there was none."""
        current = self._generations.current(environment, partition)
        if current is None:
            return None
        query = (
            select(_STAGE_RUN.c.state)
            .where(
                in_partition(_STAGE_RUN, environment, partition),
                _STAGE_RUN.c.stage == RECONCILE_STAGE,
                _STAGE_RUN.c.generation == current.id,
                _STAGE_RUN.c.finished_utc.is_not(None),
            )
            .order_by(_STAGE_RUN.c.id.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            state: StageState | None = connection.execute(query).scalar_one_or_none()
        return state

    def find(self, stage_run: int) -> StageRun | None:
        """The run with this id."""
        with self._database.reading() as connection:
            row = connection.execute(select(_STAGE_RUN).where(_STAGE_RUN.c.id == stage_run)).mappings().one_or_none()
        return StageRun(**row) if row else None

    def newest_verdicts(self, environment: Environment) -> list[StageRun]:
        """The newest reconciliation of every partition that came to a verdict, whatever was tried since."""
        newest = (
            select(func.max(_STAGE_RUN.c.id))
            .where(in_environment(_STAGE_RUN, environment), _STAGE_RUN.c.stage == RECONCILE_STAGE)
            .where(_STAGE_RUN.c.state.in_(VERDICTS))
            .group_by(_STAGE_RUN.c.table_name, _STAGE_RUN.c.partition_key)
        )
        with self._database.reading() as connection:
            rows = connection.execute(
                select(_STAGE_RUN).where(_STAGE_RUN.c.id.in_(newest)).order_by(_STAGE_RUN.c.id)
            ).mappings()
            return [StageRun(**row) for row in rows]

    def newest(self, environment: Environment) -> list[StageRun]:
        """The newest run of every partition and stage, for `kpc status`."""
        newest = (
            select(func.max(_STAGE_RUN.c.id))
            .where(in_environment(_STAGE_RUN, environment))
            .group_by(_STAGE_RUN.c.table_name, _STAGE_RUN.c.partition_key, _STAGE_RUN.c.stage)
        )
        with self._database.reading() as connection:
            rows = connection.execute(
                select(_STAGE_RUN).where(_STAGE_RUN.c.id.in_(newest)).order_by(_STAGE_RUN.c.id)
            ).mappings()
            return [StageRun(**row) for row in rows]

    def finished(self, environment: Environment) -> list[FinishedRun]:
        """Every run that has ended, in the order in which they started."""
        columns = [_STAGE_RUN.c[name] for name in FinishedRun.__slots__]
        query = select(*columns).where(in_environment(_STAGE_RUN, environment), _STAGE_RUN.c.finished_utc.is_not(None))
        with self._database.reading() as connection:
            return [FinishedRun(*row) for row in connection.execute(query.order_by(_STAGE_RUN.c.id))]
