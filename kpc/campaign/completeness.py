"""Whether everything in scope is reconciled and decided, by the ledger only; used by the hubs and by sign-off."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

from kpc.campaign.assignment import UNASSIGNED
from kpc.campaign.object_accounts import (
    FOREIGN,
    count_objects,
    foreign_evidence,
    foreign_subject,
    open_checks,
    uncounted,
)
from kpc.campaign.planned_partitions import partitions_in_scope
from kpc.catalog import TABLES, Phase
from kpc.catalog.table import Table
from kpc.errors import ConfigError
from kpc.ledger import ObjectCheckRow, SourceCheckRow
from kpc.ledger.schema import canonical_json
from kpc.ledger.states import SignOffDecision, SourceCheckState, StageState
from kpc.partition import Partition
from kpc.stages.names import RECONCILED_STATES
from kpc.stages.workspace import Workspace

log = logging.getLogger(__name__)

_NAMED = 5  # partitions in a message
ACCEPTED, REFUSED = SignOffDecision.ACCEPTED, SignOffDecision.REFUSED


@dataclass(frozen=True, slots=True)
class Completeness:
    """The partitions in scope, and which of them are not reconciled at their current generation.

    `undecided` are tables with rows that belong to no partition and have not been accepted by anyone; `recount` those
    whose number of such rows in Oracle differs from the plan's. `sampled` are the missing partitions that agree in a
    sample. `moved` are partitions that changed in Oracle since they were extracted, by the newest `kpc delta`, unless
    somebody accepted that. `uncounted` are tables whose object was not counted since their last load, `foreign` counts
    that found records of unknown origin which nobody accepted.
    """

    partitions: int
    with_exceptions: int
    missing: tuple[Partition, ...]
    undecided: tuple[str, ...] = ()
    moved: tuple[Partition, ...] = ()
    recount: tuple[str, ...] = ()
    sampled: tuple[Partition, ...] = ()
    uncounted: tuple[Table, ...] = ()
    foreign: tuple[ObjectCheckRow, ...] = ()

    @property
    def is_complete(self) -> bool:
        return not (self.missing or self.undecided or self.moved or self.recount or self.uncounted or self.foreign)

    @property
    def needs_counting(self) -> bool:
        """Whether only the count of the objects is missing for a decision."""
        return bool(self.uncounted) and not (self.missing or self.undecided or self.moved or self.recount)

    @property
    def summary(self) -> str:
        """What is missing, and the command that completes it."""
        parts = []
        if self.missing:
            names = _first(self.missing)
            parts.append(f"{len(self.missing)} of {self.partitions} partitions are not reconciled: {names}.")
        if self.sampled:
            table, key = self.sampled[0].table.name, self.sampled[0].key
            parts.append(
                f"{len(self.sampled)} of these agree only in a sample; `kpc reconcile {table} {key} --level3 full` "
                "compares every record."
            )
        if self.moved:
            table, key = self.moved[0].table.name, self.moved[0].key
            parts.append(
                f"{len(self.moved)} partitions changed in Oracle since they were extracted: {_first(self.moved)}. Run "
                f"them again (`kpc rerun {table} {key}`), or accept what `kpc delta` listed: "
                f"`kpc sign-off {table} {key} --note REASON`."
            )
        if self.uncounted:
            names = ", ".join(table.name for table in self.uncounted)
            parts.append(
                f"The objects of {names} were not counted since their last load, or not within a day: "
                f"`kpc reconcile {self.uncounted[0].name}` counts one."
            )
        parts += [_foreign_summary(check) for check in self.foreign]
        if self.recount:
            parts.append(
                f"The rows without a month of {', '.join(self.recount)} are not those that the plan counted. Count "
                "again with `kpc plan --months FIRST:COUNT`."
            )
        if self.undecided:
            parts.append(
                f"{', '.join(self.undecided)} have rows that belong to no partition. List them with `kpc show "
                f"{self.undecided[0]} {UNASSIGNED}`, then decide with `kpc sign-off {self.undecided[0]} {UNASSIGNED}`."
            )
        return " ".join(parts)

    def as_json(self) -> dict[str, object]:
        return {
            "partitions": self.partitions,
            "with_exceptions": self.with_exceptions,
            "missing": len(self.missing),
            "undecided": len(self.undecided),
            "moved": len(self.moved),
            "recount": len(self.recount),
            "uncounted": len(self.uncounted),
            "foreign": sum(check.unknown for check in self.foreign),
        }


def _foreign_summary(check: ObjectCheckRow) -> str:
    table = check.table_name
    if not check.is_accounted_for:
        return (
            f"The object of {table} held {check.records:,} records, its partitions {check.expected:,} when they were "
            f"compared, and {check.unknown:,} are of unknown origin: compare the partitions again (`kpc status` lists "
            f"them), then `kpc reconcile {table}`."
        )
    return (
        f"The object of {table} holds {check.unknown:,} records of unknown origin; `kpc reconcile {table}` lists them. "
        f"Remove them in Salesforce, or accept them with `kpc sign-off {table} {FOREIGN} --note REASON`."
    )


def _first(partitions: tuple[Partition, ...]) -> str:
    more = f" and {len(partitions) - _NAMED} more" if len(partitions) > _NAMED else ""
    return ", ".join(map(str, partitions[:_NAMED])) + more


def completeness(phase: Phase | None, workspace: Workspace) -> Completeness | None:
    """How much of a phase, or of the whole migration, is complete; None if no campaign has been planned."""
    ledger, environment = workspace.ledger, workspace.environment
    scope = ledger.scope.current(environment)
    if scope is None:
        return None
    tables = [table for table in TABLES.values() if table.name in scope.tables and phase in (None, table.phase)]
    partitions = partitions_in_scope(phase, scope)
    changes = source_changes(workspace)
    states = {partition: ledger.stages.reconciliation_state(environment, partition) for partition in partitions}
    return Completeness(
        partitions=len(partitions),
        with_exceptions=sum(state == StageState.RECONCILED_WITH_EXCEPTIONS for state in states.values()),
        missing=tuple(partition for partition, state in states.items() if state not in RECONCILED_STATES),
        uncounted=tuple(uncounted(workspace, tables)),
        foreign=tuple(
            check
            for check in open_checks(workspace, tables)
            if not (
                check.is_accounted_for
                and _is_decided(foreign_subject(check.table_name), foreign_evidence(check), workspace)
            )
        ),
        sampled=tuple(partition for partition, state in states.items() if state == StageState.SAMPLED),
        undecided=tuple(
            table.name
            for table in tables
            if table.name in scope.unassigned and not _is_accepted(table.name, scope.unassigned[table.name], workspace)
        ),
        moved=tuple(one for one in partitions if one in changes),
        recount=tuple(table.name for table in tables if Partition(table, UNASSIGNED) in changes),
    )


def counted_completeness(phase: Phase | None, workspace: Workspace) -> Completeness | None:
    """`completeness`, after counting the objects if that is all that is missing."""
    found = completeness(phase, workspace)
    if found is not None and found.needs_counting:
        try:
            count_objects(workspace, found.uncounted)
        except ConfigError as error:  # a partition outside the scope was loaded and not compared yet
            log.warning("%s", error)
        found = completeness(phase, workspace)
    return found


def unassigned_subject(table: str) -> str:
    """The sign-off subject for a table's unassigned rows."""
    return f"{table} {UNASSIGNED}"


def evidence_of(facts: object) -> str:
    """sha256 of the numbers of a decision: if they change, a new decision is needed."""
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()


def source_changes(workspace: Workspace) -> dict[Partition, SourceCheckRow]:
    """Changes in Oracle since extraction that nobody has dealt with, by the newest check of each partition.

    A change is dealt with by an extract at a later SCN than the check's, or by accepting it. Rows that belong to no
    month, under the key `UNASSIGNED`, are dealt with by a later plan, which counts them.
    """
    newest = workspace.ledger.source_checks.newest(workspace.environment)
    moved = [one for one in newest if one.state is SourceCheckState.MOVED and one.table_name in TABLES]
    open_ones = [one for one in moved if not _is_dealt_with(one, workspace)]
    return {Partition(TABLES[one.table_name], one.partition_key): one for one in open_ones}


def _is_dealt_with(check: SourceCheckRow, workspace: Workspace) -> bool:
    if check.partition_key == UNASSIGNED:
        scope = workspace.ledger.scope.current(workspace.environment)
        return scope is not None and scope.set_utc > check.checked_utc
    partition = Partition(TABLES[check.table_name], check.partition_key)
    current = workspace.ledger.generations.current(workspace.environment, partition)
    if current is not None and current.id != check.generation and current.scn >= check.final_scn:
        return True
    return _is_decided(str(partition), change_evidence(check), workspace)


def change_evidence(check: SourceCheckRow) -> dict[str, object]:
    """The numbers that an acceptance of a change is based on: if they change, a new one is needed.

    The counts of keys are part of it only where nothing else shows the change, because not every check compares rows.
    """
    then, now = check.detail["rows"]
    facts = {"generation": check.generation, **check.detail}
    if then != now or check.detail["numbers"] or "newest_change" in check.detail:
        facts.pop("keys", None)
    return facts


def _is_accepted(table: str, causes: dict[str, int], workspace: Workspace) -> bool:
    return _is_decided(unassigned_subject(table), causes, workspace)


def _is_decided(subject: str, facts: object, workspace: Workspace) -> bool:
    """Whether the newest decision about a subject, on these very numbers, accepts them."""
    decisions = [
        signed
        for signed in workspace.ledger.sign_offs.all(workspace.environment)
        if signed.subject == subject and signed.evidence_sha256 == evidence_of(facts)
    ]
    return bool(decisions) and decisions[-1].decision == ACCEPTED
