"""How far each partition is with its current extract, for estimates and for campaigns: counts only, no details."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, func, or_, select

from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.generations import Generations
from kpc.ledger.partition_filters import in_environment
from kpc.ledger.stage_runs import LOAD_STAGE, RECONCILE_STAGE, STAGING_STAGE
from kpc.ledger.states import VERDICTS, ChunkState, JobPurpose, StageState
from kpc.partition import Environment

_STAGE_RUN = schema.stage_run
_CHUNK = schema.chunk
_JOB = schema.job


@dataclass(frozen=True, slots=True)
class PartitionWork:
    """A partition's current extract: its rows, and what became of them.

    `rows_to_send` is None until it is staged; `verdict` until it was compared. `was_never_loaded`: no load of the
    partition has finished, neither of this extract nor of an earlier one.
    """

    table_name: str
    partition_key: str
    generation: str
    extracted_utc: datetime
    rows: int
    rows_to_send: int | None
    rows_sent: int
    is_loaded: bool
    was_never_loaded: bool
    verdict: StageState | None


@dataclass(frozen=True, slots=True)
class Span:
    """Rows that were moved from one moment to another."""

    rows: int
    from_utc: datetime
    until_utc: datetime


class PartitionWorkQueries:
    """Reads the work on all partitions, each with a few queries whatever their number."""

    def __init__(self, database: Database, generations: Generations) -> None:
        self._database = database
        self._generations = generations

    def current(self, environment: Environment) -> list[PartitionWork]:
        """Every partition that has a sealed extract."""
        current = self._generations.all_current(environment)
        newest = self._newest_by_generation(environment)
        sent = self._sent(environment)
        loaded = {(row["table_name"], row["partition_key"]) for row in newest if row["stage"] == LOAD_STAGE}
        ended = {(row["generation"], row["stage"]): row for row in newest}
        return [
            PartitionWork(
                table_name=one.table_name,
                partition_key=one.partition_key,
                generation=one.id,
                extracted_utc=one.started_utc,
                rows=one.rows or 0,
                rows_to_send=_rows(ended.get((one.id, STAGING_STAGE))),
                rows_sent=sent.get(one.id, 0),
                is_loaded=(one.id, LOAD_STAGE) in ended,
                was_never_loaded=(one.table_name, one.partition_key) not in loaded,
                verdict=_state(ended.get((one.id, RECONCILE_STAGE))),
            )
            for one in current
        ]

    def _newest_by_generation(self, environment: Environment) -> Sequence[RowMapping]:
        """The newest finished staging, load and verdict of every generation."""
        counts = or_(
            _STAGE_RUN.c.stage.in_((STAGING_STAGE, LOAD_STAGE)) & (_STAGE_RUN.c.state == StageState.DONE),
            (_STAGE_RUN.c.stage == RECONCILE_STAGE) & _STAGE_RUN.c.state.in_(VERDICTS),
        )
        newest = (
            select(func.max(_STAGE_RUN.c.id))
            .where(in_environment(_STAGE_RUN, environment), counts)
            .group_by(_STAGE_RUN.c.generation, _STAGE_RUN.c.stage)
        )
        names = ("table_name", "partition_key", "generation", "stage", "state", "rows")
        query = select(*(_STAGE_RUN.c[name] for name in names)).where(_STAGE_RUN.c.id.in_(newest))
        with self._database.reading() as connection:
            return connection.execute(query).mappings().all()

    def _sent(self, environment: Environment) -> dict[str, int]:
        """The rows of chunks whose result is known, by generation."""
        query = (
            select(_CHUNK.c.generation, func.sum(_CHUNK.c.rows))
            .where(in_environment(_CHUNK, environment), _CHUNK.c.state == ChunkState.DONE)
            .group_by(_CHUNK.c.generation)
        )
        with self._database.reading() as connection:
            return {generation: int(rows) for generation, rows in connection.execute(query)}

    def load_spans(self, environment: Environment, since: datetime) -> list[Span]:
        """The ingest jobs that ended since then, from their close to their end."""
        query = select(_JOB.c.rows, _JOB.c.closed_utc, _JOB.c.finished_utc).where(
            in_environment(_JOB, environment),
            _JOB.c.purpose == JobPurpose.CHUNK,
            _JOB.c.closed_utc.is_not(None),
            _JOB.c.finished_utc > since,
        )
        with self._database.reading() as connection:
            return [Span(*row) for row in connection.execute(query.order_by(_JOB.c.closed_utc))]

    def stage_spans(self, environment: Environment, stage: str, since: datetime) -> list[Span]:
        """The runs of a stage that ended with a result since then."""
        query = select(_STAGE_RUN.c.rows, _STAGE_RUN.c.started_utc, _STAGE_RUN.c.finished_utc).where(
            in_environment(_STAGE_RUN, environment),
            _STAGE_RUN.c.stage == stage,
            _STAGE_RUN.c.rows.is_not(None),
            _STAGE_RUN.c.finished_utc > since,
        )
        with self._database.reading() as connection:
            return [Span(*row) for row in connection.execute(query.order_by(_STAGE_RUN.c.started_utc))]


def _rows(row: RowMapping | None) -> int | None:
    return None if row is None else int(row["rows"] or 0)


def _state(row: RowMapping | None) -> StageState | None:
    return None if row is None else StageState(row["state"])
