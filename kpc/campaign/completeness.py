"""Whether everything in scope is reconciled and decided, from the ledger alone; used by the hubs and by sign-off."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

from kpc.campaign.assignment import UNASSIGNED
from kpc.catalog import TABLES, Phase
from kpc.errors import ConfigError
from kpc.ledger import ScopeRow
from kpc.ledger.schema import canonical_json
from kpc.ledger.states import SignOffDecision, StageState
from kpc.partition import Partition, check_key, partitions_of
from kpc.stages.names import RECONCILED_STATES
from kpc.stages.workspace import Workspace

log = logging.getLogger(__name__)

ACCEPTED, REFUSED = SignOffDecision.ACCEPTED, SignOffDecision.REFUSED


@dataclass(frozen=True, slots=True)
class Completeness:
    """The partitions in scope, and which of them are not reconciled at their current generation.

    `undecided` are tables with rows that belong to no partition and have not been accepted by anyone.
    """

    partitions: int
    with_exceptions: int
    missing: tuple[Partition, ...]
    undecided: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        return not self.missing and not self.undecided

    @property
    def summary(self) -> str:
        """What is missing, and the command that completes it."""
        parts = []
        if self.missing:
            names = ", ".join(str(partition) for partition in self.missing[:5])
            more = f" and {len(self.missing) - 5} more" if len(self.missing) > 5 else ""
            parts.append(f"{len(self.missing)} of {self.partitions} partitions are not reconciled: {names}{more}.")
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
        }


def completeness(phase: Phase | None, workspace: Workspace) -> Completeness | None:
    """How much of a phase, or of the whole migration, is complete; None if no campaign has been planned."""
    ledger, environment = workspace.ledger, workspace.environment
    scope = ledger.scope.current(environment)
    if scope is None:
        return None
    tables = [table for table in TABLES.values() if table.name in scope.tables and phase in (None, table.phase)]
    partitions = [partition for table in tables for partition in partitions_of(table, readable_months(scope))]
    states = {partition: ledger.stages.reconciliation_state(environment, partition) for partition in partitions}
    return Completeness(
        partitions=len(partitions),
        with_exceptions=sum(state == StageState.RECONCILED_WITH_EXCEPTIONS for state in states.values()),
        missing=tuple(partition for partition, state in states.items() if state not in RECONCILED_STATES),
        undecided=tuple(
            table.name
            for table in tables
            if table.name in scope.unassigned and not _is_accepted(table.name, scope.unassigned[table.name], workspace)
        ),
    )


def readable_months(scope: ScopeRow) -> tuple[str, ...]:
    """The months of the scope, without those that an older version planned although they are none."""
    months = []
    for key in scope.months:
        try:
            months.append(check_key(key, is_monthly=True))
        except ConfigError as error:
            log.warning(
                "Passing over a month of the planned scope: %s Plan again with `kpc plan --months FIRST:COUNT`.",
                error.what,
            )
    return tuple(months)


def unassigned_subject(table: str) -> str:
    """The sign-off subject for a table's unassigned rows."""
    return f"{table} {UNASSIGNED}"


def evidence_of(facts: object) -> str:
    """sha256 of the numbers decided upon: other numbers need another decision."""
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()


def _is_accepted(table: str, causes: dict[str, int], workspace: Workspace) -> bool:
    decisions = [
        signed
        for signed in workspace.ledger.sign_offs.all(workspace.environment)
        if signed.subject == unassigned_subject(table) and signed.evidence_sha256 == evidence_of(causes)
    ]
    return bool(decisions) and decisions[-1].decision == ACCEPTED
