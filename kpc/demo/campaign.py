"""The demo's campaign: trigger the DAG `campaign`, and watch until every partition has ended."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ulid import ULID

from expectations.sign_off_report import write_report
from kpc.airflow_client.records import DagRun
from kpc.calling_user import calling_user
from kpc.catalog import TABLES, Table
from kpc.demo.servers import World
from kpc.demo.sign_off import sign_migration_off
from kpc.errors import Terminal
from kpc.ledger import StageRun
from kpc.partition import Partition, partitions_of
from kpc.stages.names import (
    ALERTS,
    CAMPAIGN,
    DATA_DOCS,
    MIGRATION,
    RECONCILED,
    SF_LOADED,
    SIGN_OFF_PREFIX,
    STAGES,
    asset_name,
)
from kpc.stages.workspace import Workspace, open_workspace

_DAGS_TIMEOUT_S = 120.0
_FINALIZE_TIMEOUT_S = 120.0
_POLL_S = 1.0
_OVERLAP = timedelta(seconds=15)
_POLLS_PER_RUN_QUERY = 3  # every poll queries the ledger, every third also Airflow
_POLLS_PER_CAMPAIGN_QUERY = 15  # once it has started partitions; two requests each


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed, and the URL of its page."""

    reason: str
    page: str


@dataclass
class Progress:
    """The last known state of every partition: its newest stage runs in the ledger and its newest runs in Airflow."""

    partitions: tuple[Partition, ...]
    stages: dict[tuple[Partition, str], StageRun] = field(default_factory=dict)
    runs: dict[tuple[Partition, str], DagRun] = field(default_factory=dict)
    failures: dict[tuple[Partition, str], Failure] = field(default_factory=dict)
    elapsed_s: float = 0.0

    @property
    def tables(self) -> tuple[Table, ...]:
        return tuple(dict.fromkeys(partition.table for partition in self.partitions))

    def of_table(self, table: Table) -> tuple[Partition, ...]:
        return tuple(partition for partition in self.partitions if partition.table is table)

    def has_done(self, partition: Partition, stage: str) -> bool:
        run = self.runs.get((partition, stage))
        return run is not None and run.state == "success"

    def has_failed(self, partition: Partition) -> bool:
        return any((partition, stage) in self.failures for stage in STAGES)

    def has_ended(self, partition: Partition) -> bool:
        return self.has_done(partition, RECONCILED) or self.has_failed(partition) or self.is_blocked(partition)

    def is_blocked(self, partition: Partition) -> bool:
        """Whether its load waits for a parent that will never be loaded, because it or an ancestor failed."""
        if self.has_done(partition, SF_LOADED):
            return False
        parents = [parent for parent in partition.parents() if parent in self.partitions]
        return any(
            not self.has_done(parent, SF_LOADED) and (self.has_failed(parent) or self.is_blocked(parent))
            for parent in parents
        )

    @property
    def is_over(self) -> bool:
        return all(self.has_ended(partition) for partition in self.partitions)

    @property
    def is_reconciled(self) -> bool:
        return all(self.has_done(partition, RECONCILED) for partition in self.partitions)


class Campaign:
    """One campaign over some tables and months on running servers."""

    def __init__(self, world: World, tables: Sequence[str], months: Sequence[str]) -> None:
        self.world = world
        self.api = world.api
        self.months = tuple(months)
        chosen = [table for table in TABLES.values() if table.name in tables]
        self.partitions = tuple(p for table in chosen for p in partitions_of(table, self.months))
        self.progress = Progress(self.partitions)
        self.since: datetime | None = None
        self.run: DagRun | None = None
        self._asked: datetime | None = None  # runs that changed before are known
        self._by_dag = {(asset_name(p.table, stage), p.key): (p, stage) for p in self.partitions for stage in STAGES}

    def prepare(self) -> None:
        """Create the pools, and wait until Airflow has read the DAGs."""
        self.api.ensure_pools()
        wanted = {dag for dag, _ in self._by_dag} | {MIGRATION, DATA_DOCS, CAMPAIGN}
        until = time.monotonic() + _DAGS_TIMEOUT_S
        while missing := wanted - self.api.dag_ids():
            self.world.keeper.check()
            if errors := self.api.import_errors():
                raise Terminal(f"Airflow cannot read the DAGs. {errors[0]}", "Correct the file and start again.")
            if time.monotonic() > until:
                raise Terminal(f"Airflow has not read {len(missing)} DAGs.", f"See the logs in {self.world.logs}.")
            time.sleep(_POLL_S / 2)

    def start(self) -> None:
        """Trigger the DAG `campaign`, which plans the scope and starts the partitions."""
        months = {"first_month": self.months[0], "last_month": self.months[-1]}
        tables = [table.name for table in self.progress.tables]
        self.run = self.api.run(CAMPAIGN, self.api.trigger(CAMPAIGN, conf={"tables": tables, **months}))
        self.since = self.run.queued

    def watch(self) -> Iterator[Progress]:
        """Yield the progress about once a second, until every partition has ended or is blocked."""
        began = time.monotonic()
        progress = self.progress
        with open_workspace(self.world.settings, run_id="demo-watch", actor=calling_user()) as workspace:
            for poll in itertools.count():
                time.sleep(_POLL_S)
                self.world.keeper.check()
                if not progress.runs or poll % _POLLS_PER_CAMPAIGN_QUERY == 0:
                    self._refuse_failed_start()
                if poll % _POLLS_PER_RUN_QUERY == 0:
                    self._query_airflow()
                self._query_ledger(workspace)
                progress.elapsed_s = time.monotonic() - began
                yield progress
                if progress.is_over:
                    return

    def build_docs(self) -> DagRun:
        """Start building the Data Docs; `finalize` waits for the end."""
        return self.api.run(DATA_DOCS, self.api.trigger(DATA_DOCS))

    def finalize(self, docs: DagRun) -> Path | None:
        """Wait until the Data Docs are built and the hubs have finished.

        Returns the overview page; None if the build failed or the time limit passed.
        """
        until = time.monotonic() + _FINALIZE_TIMEOUT_S
        while time.monotonic() < until:
            self.world.keeper.check()
            others = [run for run in self.api.runs(since=self.since) if self._is_other(run)]
            if all(run.is_final for run in others) and (self._is_signed_off() or not self.progress.is_reconciled):
                docs = self.api.run(DATA_DOCS, docs.run_id)
                return Path(self.api.result(docs, DATA_DOCS)) if docs.state == "success" else None
            time.sleep(_POLL_S)
        return None

    def _is_other(self, run: DagRun) -> bool:
        """Whether it is neither a partition's, nor the alerts', every minute, nor a request that waits for a person."""
        ours = {*self._by_dag, (ALERTS, "")}
        return (run.dag_id, run.key or "") not in ours and not run.dag_id.startswith(SIGN_OFF_PREFIX)

    def sign_off(self) -> str:
        """See `sign_migration_off`."""
        with self._workspace() as workspace:
            return sign_migration_off(self.world, workspace)

    def report(self) -> Path:
        """Write the sign-off report of the whole migration, as it now is; returns its file."""
        with self._workspace() as workspace:
            return write_report(self.world.settings.reconcile.docs_root, workspace, None).file.absolute()

    def _workspace(self) -> AbstractContextManager[Workspace]:
        return open_workspace(self.world.settings, run_id=f"demo-{ULID()}", actor=calling_user())

    def _is_signed_off(self) -> bool:
        return any(event.asset == MIGRATION for event in self.api.events(since=self.since))

    def _query_ledger(self, workspace: Workspace) -> None:
        by_name = {(partition.table.name, partition.key): partition for partition in self.partitions}
        for row in workspace.ledger.stages.newest(workspace.environment):
            if partition := by_name.get((row.table_name, row.partition_key)):
                self.progress.stages[partition, row.stage] = row

    def _query_airflow(self) -> None:
        asked = datetime.now(UTC) - _OVERLAP  # a change may be written a little later than its time
        for run in self.api.runs(since=self.since, changed_since=self._asked):
            place = self._by_dag.get((run.dag_id, run.key or ""))
            if place is None:
                continue
            self.progress.runs[place] = run
            if run.state != "failed":
                self.progress.failures.pop(place, None)
            elif place not in self.progress.failures:
                self.progress.failures[place] = Failure(self.api.failure(run), self.api.run_page(run))
        self._asked = asked

    def _refuse_failed_start(self) -> None:
        """Raises `Terminal` if the campaign's run failed before it had started its partitions."""
        if self.run is None or self.run.is_final:
            return
        self.run = self.api.run(CAMPAIGN, self.run.run_id)
        failed = [task.task_id for task in self.api.tasks(self.run) if task.state == "failed"]
        if failed and failed != ["close"]:  # that one judges what has ended
            raise Terminal(self.api.failure(self.run), f"See {self.api.run_page(self.run)}.")
