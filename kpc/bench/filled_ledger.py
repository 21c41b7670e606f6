"""A ledger as a campaign of 16 tables and many months leaves it: every state that an overview can show.

`python -m kpc.bench.filled_ledger URL MONTHS [whole]` fills a new ledger.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from kpc.catalog import TABLES, Table
from kpc.ledger import Ledger, OrgUsage, Signer, open_ledger, schema
from kpc.ledger.states import (
    AttemptState,
    ChunkState,
    FailureClass,
    FailureState,
    GenerationState,
    JobPurpose,
    JobState,
    PauseScope,
    QuotaEntryState,
    QuotaKind,
    SignOffDecision,
    StageState,
)
from kpc.partition import Environment, Partition, month_keys, partitions_of
from kpc.stages.names import RECONCILED, SF_LOADED, STAGES

FILLED = Environment("ora-1042572544-KPC", "00D5g00000cbhxtEAI")
NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
VERSION = "4f" * 32
_MINUTE = timedelta(minutes=1)
_FIRST_RUN = 1_000_000  # so that a ledger that is in use, with runs of its own, can be filled too
_ERROR = (
    "Salesforce refused 131 of 100,000 rows for a reason of the org (FIELD_INTEGRITY_EXCEPTION). Correct the org, then "
    "run the load again."
)


class LedgerFiller:
    """Writes rows in bulk, as the engines would have written them one by one."""

    def __init__(self, now: datetime, months: Sequence[str], seed: int = 7) -> None:
        self.now = now
        self.months = list(months)
        self.random = random.Random(seed)  # noqa: S311  made-up figures
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.runs = _FIRST_RUN

    def add(self, table: str, **values: Any) -> None:
        self.rows.setdefault(table, []).append(values)

    def write(self, ledger: Ledger) -> None:
        with ledger.database.writing() as connection:
            for name, rows in self.rows.items():
                connection.execute(getattr(schema, name).insert(), rows)

    def partition(self, one: Partition, at: int) -> None:
        """A partition that is `at` of all into the campaign: the first are finished, the last only planned."""
        table, rows = one.table, max(40, int(one.table.rows_per_year / 12 * self.random.uniform(0.7, 1.2)))
        share = at / max(1, len(self.months))
        begun = (
            self.now
            - timedelta(hours=30)
            + timedelta(hours=32) * share
            - timedelta(minutes=3) * list(TABLES).index(table.name)
        )
        fate = self.random.random()
        for position, stage in enumerate(STAGES):
            started = begun + timedelta(minutes=9 * position + self.random.uniform(0, 3))
            if started > self.now:
                return
            ended = started + timedelta(minutes=self.random.uniform(2, 8))
            if ended > self.now:
                self.running(one, stage, started, rows)
                return
            state, error = self._outcome(stage, fate)
            self.run(one, stage, state, started, ended, rows=None if state is StageState.FAILED else rows, error=error)
            if position == 0:
                self.generation(one, started, ended, rows)
            if state is StageState.FAILED or (fate > 0.985 and stage == "staged_csv"):
                return
            if stage == SF_LOADED and 0.90 < fate < 0.96:
                self.failures(one, 3 + int(fate * 100) % 7)
        if table.name == "KPS_T_SALES_MD" and at % 9 == 4:
            self.run(one, STAGES[0], StageState.DONE, self.now - 5 * _MINUTE, self.now - 4 * _MINUTE, rows=rows)

    def _outcome(self, stage: str, fate: float) -> tuple[StageState, str | None]:
        if stage == SF_LOADED and fate < 0.012:
            return StageState.FAILED, _ERROR
        if stage != RECONCILED:
            return StageState.DONE, None
        bounds = ((0.02, StageState.MISMATCH), (0.03, StageState.SAMPLED), (0.9, StageState.RECONCILED))
        for bound, state in bounds:
            if fate < bound:
                return state, None
        return (StageState.RECONCILED_WITH_EXCEPTIONS if fate < 0.96 else StageState.RECONCILED), None

    def run(
        self,
        one: Partition,
        stage: str,
        state: StageState,
        started: datetime,
        ended: datetime | None,
        *,
        rows: int | None,
        error: str | None = None,
    ) -> None:
        self.runs += 1
        detail = {"certificate": f"{self.runs:064x}", "certified_by": self.runs} if stage == RECONCILED else {}
        self.add(
            "stage_run",
            id=self.runs,
            **self._of(one),
            stage=stage,
            generation=self._id(one),
            mapping_version=VERSION,
            run_id=f"asset_triggered__{started:%Y-%m-%dT%H:%M:%S}+00:00_{self.runs}",
            actor="airflow:malee",
            mode="incremental",
            state=state,
            rows=rows,
            bytes=None if rows is None else rows * 90,
            detail=detail,
            error=error,
            started_utc=started,
            finished_utc=ended,
        )
        if state is StageState.MISMATCH:
            for measure in ("rows", "sum QTY"):
                self.add(
                    "reconciliation", **self._of(one), generation=self._id(one), stage_run=self.runs, level=1,
                    measure=measure, source_value="10", target_value="9", passed=False, detail=None,
                    compared_utc=started,
                )  # fmt: skip

    def running(self, one: Partition, stage: str, started: datetime, rows: int) -> None:
        self.add(
            "lease", **self._of(one), stage=stage, owner="worker-2", token=1, acquired_utc=started,
            expires_utc=self.now + timedelta(hours=8),
        )  # fmt: skip
        if stage != SF_LOADED:
            self.run(one, stage, StageState.RUNNING, started, None, rows=None)
            return
        of = {**self._of(one), "generation": self._id(one), "mapping_version": VERSION}
        self.add(
            "attempt", **of, number=1, run_id="asset_triggered__now", state=AttemptState.RUNNING, error=None,
            started_utc=started, finished_utc=None,
        )  # fmt: skip
        for chunk in range(4):
            done = chunk < 2
            counts = (rows // 4, rows // 4, 0, 0) if done else (None,) * 4
            self.add(
                "chunk", **of, name=f"chunk-{chunk:05}.csv.gz", rows=rows // 4, raw_bytes=rows * 20, sha256="ab" * 32,
                state=ChunkState.DONE if done else ChunkState.PLANNED,
                **dict(zip(("loaded", "created", "failed", "unprocessed"), counts, strict=True)),
                planned_utc=started, finished_utc=self.now - _MINUTE if done else None,
            )  # fmt: skip
        self.add(
            "job", **of, chunk="chunk-00002.csv.gz", attempt=1, purpose=JobPurpose.CHUNK, object_name=one.table.target,
            operation="upsert", external_id_field="External_ID__c", state=JobState.CLOSED, job_id=None,
            encoding="gzip", rows=rows // 4, batches=3, processed=rows // 8, intent_utc=started, touched_utc=self.now,
            closed_utc=started, finished_utc=None, error=None,
        )  # fmt: skip

    def generation(self, one: Partition, started: datetime, ended: datetime, rows: int) -> None:
        """The only extract of a partition."""
        if any(row["id"] == self._id(one) for row in self.rows.get("generation", ())):
            return
        self.add(
            "generation", id=self._id(one), **self._of(one), ordinal=1, scn=8_123_456_789, mode="full",
            spec_hash="s", run_id="r", state=GenerationState.SEALED, rows=rows, raw_bytes=rows * 90,
            started_utc=started, ended_utc=ended, reason=None,
        )  # fmt: skip

    def failures(self, one: Partition, rows: int) -> None:
        kinds = (
            (FailureClass.DATA, "FIELD_CUSTOM_VALIDATION_EXCEPTION"),
            (FailureClass.TRANSIENT, "UNABLE_TO_LOCK_ROW"),
            (FailureClass.DEPENDENCY, "MISSING_PARENT"),
        )
        for number in range(rows):
            error_class, code = kinds[number % len(kinds)]
            self.add(
                "failed_records", **self._of(one), generation=self._id(one), mapping_version=VERSION,
                chunk="chunk-00001.csv.gz", job_id=None, external_id=f"SECRET-KEY|{one.key}|{number}",
                error_code=code, error_class=error_class, message="refused", fields=[], attempts=1,
                state=FailureState.OPEN, first_utc=self.now, last_utc=self.now,
            )  # fmt: skip

    def _of(self, one: Partition) -> dict[str, str]:
        return {
            "source_id": FILLED.source_id,
            "target_id": FILLED.target_id,
            "table_name": one.table.name,
            "partition_key": one.key,
        }

    def _id(self, one: Partition) -> str:
        return f"{list(TABLES).index(one.table.name):02}{one.key.replace('-', ''):0>24}"


def _chosen(months: Sequence[str], *, is_whole: bool) -> Iterator[tuple[Partition, int]]:
    for table in TABLES.values():
        keys = [one.key for one in partitions_of(table, tuple(months))]
        for at, key in enumerate(months if is_whole else keys):
            yield Partition(table, key), at


def fill(
    ledger: Ledger, *, months: int = 60, now: datetime = NOW, first: str = "2021-12", is_whole: bool = False
) -> tuple[str, ...]:
    """Fill a ledger with the environment `FILLED`; returns the months. The clock of the ledger should show `now`.

    With `is_whole` every table has every month, also those that the catalog keeps as one partition: the largest matrix.
    """
    keys = month_keys(first, months)
    ledger.scope.set(
        FILLED, months=keys, tables=list(TABLES), mode="incremental", run_id="plan-1", actor="airflow:malee"
    )
    filler = LedgerFiller(now, keys)
    for one, at in _chosen(keys, is_whole=is_whole):
        filler.partition(one, at)
    for hour in range(20):
        filler.add(
            "quota_entry", target_id=FILLED.target_id, kind=QuotaKind.JOB, job=None, rows=3_400_000, batches=340,
            calls=0, state=QuotaEntryState.DEBITED, counted_utc=now - timedelta(hours=hour),
        )  # fmt: skip
    filler.write(ledger)
    ledger.quota.record_limits(FILLED.target_id, OrgUsage(15_000, 7_100, 1_000_000, 41_000))
    ledger.pauses.start(FILLED, PauseScope.TABLE, "KPS_T_SALES_M", actor="airflow:somchai", reason="index is rebuilt")
    signer = Signer("airflow:malee", "Airflow log-in", is_authenticated=True)
    ledger.sign_offs.record(
        FILLED, "reference", signer, decision=SignOffDecision.ACCEPTED, certificates=_certificates(filler)
    )
    return keys


def _certificates(filler: LedgerFiller) -> dict[str, str]:
    wanted = {table.name for table in TABLES.values() if _is_reference(table)}
    return {
        f"{run['table_name']} {run['partition_key']}": run["detail"]["certificate"]
        for run in filler.rows["stage_run"]
        if run["table_name"] in wanted and run["stage"] == RECONCILED
    }


def _is_reference(table: Table) -> bool:
    return table.phase.value == "reference"


if __name__ == "__main__":
    opened = open_ledger(sys.argv[1])
    fill(opened, months=int(sys.argv[2]), now=datetime.now(UTC), is_whole=sys.argv[3:] == ["whole"])
    opened.close()
