"""Asking Oracle what changed since each partition was read, and recording the answer: the work of `kpc delta`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from kpc.campaign.changed_rows import changed_rows
from kpc.campaign.planned_partitions import readable_months
from kpc.campaign.source_delta import (
    NO_DAY,
    DayDelta,
    LiveTable,
    LiveTotals,
    Moved,
    NotExtracted,
    PartitionDelta,
    TableDelta,
    WithoutMonth,
    delta_of,
    moved_days,
    sort_into_partitions,
)
from kpc.catalog import TABLES
from kpc.catalog.table import Table
from kpc.errors import CallTimedOut, ConfigError, DamagedFile, SnapshotLost
from kpc.extract.control_totals import measure_days
from kpc.extract.day_statements import totals_by_day
from kpc.extract.incremental_extract import newest_change, read_at
from kpc.extract.partition_extract import refuse_outside_window
from kpc.ledger import GenerationRow, SourceCheckRow, SourceFinding, Vouched
from kpc.ledger.states import SourceCheckState
from kpc.oracle.session import Oracle
from kpc.partition import Partition
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.workspace import Workspace
from kpc.storage.manifests import ExtractManifest

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeltaRequest:
    """What to compare. `tables` empty: those in scope, or all that were extracted; `months` empty: all.

    `lists_keys` compares the rows of months whose totals changed, `compares_rows` those of every month.
    """

    tables: tuple[Table, ...] = ()
    months: tuple[str, ...] = ()
    scn: int | None = None
    lists_keys: bool = False
    compares_rows: bool = False


def check_source(workspace: Workspace, request: DeltaRequest) -> tuple[TableDelta, ...]:
    """Compare the sealed extracts with Oracle at one SCN, and record per table what was found.

    Raises `ConfigError` if there is nothing to compare, `OutsideWindow`, `SnapshotLost` if the SCN can no longer be
    read, `CallTimedOut` if it takes longer than `scan_timeout_s`. Findings up to then stay recorded.
    """
    tables = request.tables or _tables_to_compare(workspace)
    current = workspace.oracle.current_scn()
    if request.scn is not None and request.scn > current:
        raise ConfigError(
            f"SCN {request.scn} is in the future: Oracle is at {current}.", "Give an SCN that has passed."
        )
    scn = current if request.scn is None else request.scn
    sealed = workspace.ledger.generations.all_current(workspace.environment)
    return tuple(_check_table(workspace, table, replace(request, scn=scn), sealed) for table in tables)


def _tables_to_compare(workspace: Workspace) -> tuple[Table, ...]:
    scope = workspace.ledger.scope.current(workspace.environment)
    extracted = {one.table_name for one in workspace.ledger.generations.all_current(workspace.environment)}
    names = extracted if scope is None else extracted | set(scope.tables)
    tables = tuple(table for table in TABLES.values() if table.name in names)
    if not tables:
        raise ConfigError(
            "No partition has been extracted yet, so nothing can be compared.",
            "Plan the campaign with `kpc plan --months FIRST:COUNT` and extract its partitions first.",
        )
    return tables


@dataclass(frozen=True, slots=True)
class _TableCheck:
    """One table's comparison. `sealed` are its current extracts by key, `before` the newest findings by key."""

    whole: PartitionContext  # any partition of the table; for its workspace
    request: DeltaRequest
    scn: int
    oracle: Oracle
    live: LiveTable
    before: dict[str, SourceCheckRow]

    def partition(self, row: GenerationRow) -> PartitionDelta:
        """Compare one extract: totals first, then what they cannot show."""
        context = self.whole.of(Partition(self.whole.table, row.partition_key))
        manifest, now = sealed_extract(context), self.live.of(row.partition_key)
        found = delta_of(manifest, context.partition, now)
        if not found.has_moved:
            found = replace(found, newest=_hidden_change(context, row, now))
        if self.request.compares_rows or (self.request.lists_keys and found.has_moved):
            with explained(self.oracle, self.whole.table, self.scn):
                found = replace(found, changed=changed_rows(context, self.oracle, manifest, now.totals, self.scn))
        if found.has_moved and context.table.is_monthly:
            found = replace(found, days=_days(context, manifest, self.live.days.get(row.partition_key, {})))
        return found

    def finding(self, found: PartitionDelta) -> SourceFinding:
        """What is recorded; a check of totals alone does not undo a finding that came from comparing rows."""
        finding, before = found.finding(), self.before.get(found.partition.key)
        if before is None or found.has_moved or found.changed is not None:
            return finding
        if before.generation == found.generation and before.state is SourceCheckState.MOVED and _is_by_rows(before):
            return replace(finding, state=SourceCheckState.MOVED, detail=before.detail)
        return finding


def _is_by_rows(before: SourceCheckRow) -> bool:
    then, now = before.detail["rows"]
    return bool("keys" in before.detail and then == now and not before.detail["numbers"])


def _check_table(
    workspace: Workspace, table: Table, request: DeltaRequest, sealed: Sequence[GenerationRow]
) -> TableDelta:
    whole = PartitionContext(workspace, Partition(table, "ALL"))
    refuse_outside_window(whole)
    scn = request.scn or 0
    oracle = workspace.oracle
    with explained(oracle, table, scn), oracle.session(f"delta {table.name}", table.name, scans=True) as session:
        live = sort_into_partitions(table, list(session.rows(totals_by_day(oracle.owner, table, scn))))
    newest = workspace.ledger.source_checks.newest(workspace.environment)
    before = {one.partition_key: one for one in newest if one.table_name == table.name}
    check = _TableCheck(whole, request, scn, oracle, live, before)
    mine = {
        one.partition_key: one for one in sealed if one.table_name == table.name and _is_wanted(request, table, one)
    }
    compared = [check.partition(row) for _, row in sorted(mine.items()) if row.scn <= scn]
    delta = TableDelta(
        table=table.name,
        scn=scn,
        rows=live.rows,
        compared=tuple(compared),
        not_extracted=_not_extracted(
            workspace, live, request, {one.partition_key for one in sealed if one.table_name == table.name}
        ),
        later=tuple(Partition(table, key) for key, row in sorted(mine.items()) if row.scn > scn),
        without_month=_without_month(workspace, live) if table.is_monthly else None,
    )
    _record(workspace, delta, [check.finding(one) for one in compared])
    return delta


def _is_wanted(request: DeltaRequest, table: Table, row: GenerationRow) -> bool:
    return not table.is_monthly or not request.months or row.partition_key in request.months


def _not_extracted(
    workspace: Workspace, live: LiveTable, request: DeltaRequest, extracted: set[str]
) -> tuple[NotExtracted, ...]:
    scope = workspace.ledger.scope.current(workspace.environment)
    in_scope = set(readable_months(scope)) | {"ALL"} if scope and live.table.name in scope.tables else set()
    wanted = set(request.months) if request.months and live.table.is_monthly else live.days.keys()
    return tuple(
        NotExtracted(Partition(live.table, key), live.of(key).totals.rows, key in in_scope)
        for key in sorted(live.days.keys() & wanted - extracted)
    )


def _without_month(workspace: Workspace, live: LiveTable) -> WithoutMonth:
    scope = workspace.ledger.scope.current(workspace.environment)
    planned = None
    if scope is not None and live.table.name in scope.tables:
        counted = scope.unassigned.get(live.table.name, {})
        planned = {cause: counted[cause] for cause in NO_DAY if cause in counted}
    return WithoutMonth(live.table.name, live.causes, planned)


def _hidden_change(context: PartitionContext, row: GenerationRow, now: LiveTotals) -> Moved | None:
    """The newest change then and now, if a row changed although no total did; otherwise, or if unknown, None."""
    overlap = timedelta(seconds=context.settings.oracle.overlap_s)
    if now.newest is None or now.newest < read_at(context, row) - overlap:
        return None  # older than the extract, whatever the extract held
    try:
        then = newest_change(context, row.id)
    except DamagedFile as gone:
        log.warning("%s: its update column was not compared: %s", context, gone.what)
        return None
    return (str(then), str(now.newest)) if then is not None and now.newest > then else None


def _days(
    context: PartitionContext, manifest: ExtractManifest, now: dict[str | None, LiveTotals]
) -> tuple[DayDelta, ...]:
    """The days that changed, compared with the sealed extract."""
    folder = context.paths.generation(manifest.generation).extract
    try:
        for chunk in manifest.chunks:
            context.store.file(folder, chunk, remedy="")
    except DamagedFile as gone:
        log.warning("%s: the days that changed are not known: %s", context, gone.what)
        return ()
    then = measure_days(folder, manifest.chunks, context.table)
    return moved_days(then, now, context.table)


@contextmanager
def explained(oracle: Oracle, table: Table, scn: int) -> Iterator[None]:
    """Explain what ends a comparison: an SCN out of reach, or a call that met its time limit."""
    try:
        yield
    except SnapshotLost as lost:
        raise SnapshotLost(
            f"Oracle can no longer read {oracle.owner}.{table.name} as of SCN {scn}, so it was not compared.",
            f"Run `kpc delta --tables {table.name}`, which takes a new SCN; if it recurs, ask the DBA for a longer "
            "UNDO_RETENTION.",
        ) from lost
    except CallTimedOut as error:
        raise CallTimedOut(
            f"{error.what} {table.name} was not compared.",
            f"Raise KPC__ORACLE__SCAN_TIMEOUT_S, then run `kpc delta --tables {table.name}`; the tables compared "
            "before it are recorded.",
        ) from error


def _record(workspace: Workspace, delta: TableDelta, findings: list[SourceFinding]) -> None:
    findings += [one.finding() for one in delta.not_extracted]
    if delta.without_month is not None:
        findings.append(delta.without_month.finding())
    environment, run_id, actor = workspace.environment, workspace.run_id, workspace.actor
    moved = [one.partition_key for one in findings if one.state is SourceCheckState.MOVED]
    detail = {"table": delta.table, "scn": delta.scn, "compared": len(delta.compared), "moved": moved}
    with workspace.ledger.together():
        workspace.ledger.source_checks.record(environment, findings, final_scn=delta.scn, run_id=run_id, actor=actor)
        workspace.ledger.audit.append(
            "source compared",
            actor=actor,
            run_id=run_id,
            environment=environment,
            detail=detail,
            vouched=Vouched((("source_check", run_id),)),
        )
