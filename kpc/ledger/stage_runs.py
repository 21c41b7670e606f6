"""Stage runs: who ran which stage of which partition, on what, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, update

from kpc.ledger import schema
from kpc.ledger.fencing import Lease
from kpc.ledger.generations import GenerationRow, Generations
from kpc.ledger.places import at, here, place
from kpc.partition import Partition
from kpc.storage.store import Environment

STAGING_STAGE = "staged_csv"
LOAD_STAGE = "sf_loaded"
RECONCILE_STAGE = "reconciled"

_TABLE = schema.stage_run


@dataclass(frozen=True, slots=True)
class StageRun:
    """`state`: running, done, failed, waiting, reconciled, reconciled_with_exceptions or mismatch."""

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
    state: str
    rows: int | None
    bytes: int | None
    detail: dict[str, Any] | None
    error: str | None
    started_utc: datetime
    finished_utc: datetime | None


class StageRuns(Generations):
    def start_stage(  # noqa: PLR0913  each is a fact of the audit trail
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
        """Record that a stage begins; returns the id for `finish_stage` or `fail_stage`."""
        with self.writing(lease) as connection:
            added = connection.execute(
                insert(_TABLE).values(
                    **place(environment, partition),
                    stage=stage,
                    generation=generation,
                    mapping_version=mapping_version,
                    run_id=run_id,
                    actor=actor,
                    mode=mode,
                    state="running",
                    started_utc=self.clock(),
                )
            )
        return int(added.inserted_primary_key[0]) if added.inserted_primary_key else 0

    def finish_stage(
        self,
        stage_run: int,
        *,
        state: str,
        rows: int,
        bytes: int,  # noqa: A002  the receipt's word
        detail: dict[str, Any],
        lease: Lease,
        generation: str | None = None,
        mapping_version: str | None = None,
    ) -> None:
        """Record how a stage ended; `generation` and `mapping_version` where they were not known at its start."""
        known = {"generation": generation, "mapping_version": mapping_version}
        with self.writing(lease) as connection:
            connection.execute(
                update(_TABLE)
                .where(_TABLE.c.id == stage_run)
                .values(
                    state=state,
                    rows=rows,
                    bytes=bytes,
                    detail=detail,
                    finished_utc=self.clock(),
                    **{name: value for name, value in known.items() if value is not None},
                )
            )

    def fail_stage(self, stage_run: int, error: str, *, state: str = "failed") -> None:
        """Record why a run ended without a result. Needs no lease: losing it is one of the reasons."""
        with self.writing() as connection:
            connection.execute(
                update(_TABLE)
                .where(_TABLE.c.id == stage_run, _TABLE.c.state == "running")
                .values(state=state, error=error, finished_utc=self.clock())
            )

    def last_stage(
        self, environment: Environment, partition: Partition, stage: str, *, generation: str | None = None
    ) -> StageRun | None:
        """The newest run of a stage; with `generation`, the newest on that generation."""
        query = select(_TABLE).where(at(_TABLE, environment, partition), _TABLE.c.stage == stage)
        if generation is not None:
            query = query.where(_TABLE.c.generation == generation)
        with self.reading() as connection:
            row = connection.execute(query.order_by(_TABLE.c.id.desc()).limit(1)).mappings().one_or_none()
        return StageRun(**row) if row else None

    def staged_before(self, environment: Environment, partition: Partition, generation: str) -> list[tuple[str, str]]:
        """Generation and mapping version of everything that was staged of older extracts of the partition."""
        rows = schema.generation
        ordinal = select(rows.c.ordinal).where(rows.c.id == generation).scalar_subquery()
        query = (
            select(_TABLE.c.generation, _TABLE.c.mapping_version)
            .join(rows, rows.c.id == _TABLE.c.generation)
            .where(at(_TABLE, environment, partition), _TABLE.c.stage == STAGING_STAGE, _TABLE.c.state == "done")
            .where(rows.c.ordinal < ordinal, _TABLE.c.mapping_version.is_not(None))
            .group_by(rows.c.ordinal, _TABLE.c.generation, _TABLE.c.mapping_version)
            .order_by(rows.c.ordinal, _TABLE.c.mapping_version)
        )
        with self.reading() as connection:
            return [(row.generation, row.mapping_version) for row in connection.execute(query)]

    def loaded_generation(self, environment: Environment, partition: Partition) -> GenerationRow | None:
        """The newest generation whose load is complete, whatever was extracted since."""
        query = (
            select(_TABLE.c.generation)
            .where(at(_TABLE, environment, partition), _TABLE.c.stage == LOAD_STAGE, _TABLE.c.state == "done")
            .order_by(_TABLE.c.id.desc())
            .limit(1)
        )
        with self.reading() as connection:
            found = connection.execute(query).scalar_one_or_none()
        return self.generation(found) if found else None

    def is_loaded(self, environment: Environment, partition: Partition) -> bool:
        """Whether the partition's current generation has been loaded."""
        current = self.current_generation(environment, partition)
        if current is None:
            return False
        query = select(func.count()).where(
            at(_TABLE, environment, partition),
            _TABLE.c.stage == LOAD_STAGE,
            _TABLE.c.generation == current.id,
            _TABLE.c.state == "done",
        )
        with self.reading() as connection:
            return bool(connection.execute(query).scalar_one())

    def loaded_version(self, environment: Environment, partition: Partition) -> str | None:
        """The mapping version under which the current generation was loaded last; None if it is not loaded."""
        current = self.current_generation(environment, partition)
        if current is None:
            return None
        query = (
            select(_TABLE.c.mapping_version)
            .where(
                at(_TABLE, environment, partition),
                _TABLE.c.stage == LOAD_STAGE,
                _TABLE.c.generation == current.id,
                _TABLE.c.state == "done",
            )
            .order_by(_TABLE.c.id.desc())
            .limit(1)
        )
        with self.reading() as connection:
            version: str | None = connection.execute(query).scalar_one_or_none()
        return version

    def reconciliation_state(self, environment: Environment, partition: Partition) -> str | None:
        """How the current generation's newest finished reconciliation ended; None if there was none."""
        current = self.current_generation(environment, partition)
        if current is None:
            return None
        query = (
            select(_TABLE.c.state)
            .where(
                at(_TABLE, environment, partition),
                _TABLE.c.stage == RECONCILE_STAGE,
                _TABLE.c.generation == current.id,
                _TABLE.c.finished_utc.is_not(None),
            )
            .order_by(_TABLE.c.id.desc())
            .limit(1)
        )
        with self.reading() as connection:
            state: str | None = connection.execute(query).scalar_one_or_none()
        return state

    def stages(self, environment: Environment) -> list[StageRun]:
        """The newest run of every partition and stage, for `kpc status`."""
        newest = (
            select(func.max(_TABLE.c.id))
            .where(here(_TABLE, environment))
            .group_by(_TABLE.c.table_name, _TABLE.c.partition_key, _TABLE.c.stage)
        )
        with self.reading() as connection:
            rows = connection.execute(select(_TABLE).where(_TABLE.c.id.in_(newest)).order_by(_TABLE.c.id)).mappings()
            return [StageRun(**row) for row in rows]
