"""Is everything in scope reconciled? What the sign-off hubs ask, answered from the ledger alone."""

from __future__ import annotations

from dataclasses import dataclass

from kpc.catalog import TABLES, Phase
from kpc.partition import Partition, partitions_of
from kpc.stages import RECONCILED_STATES
from kpc.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Completeness:
    """The partitions in scope: how many there are, and which of them are not reconciled at their current generation."""

    partitions: int
    with_exceptions: int
    missing: tuple[Partition, ...]

    @property
    def summary(self) -> str:
        names = ", ".join(str(partition) for partition in self.missing[:5])
        more = f" and {len(self.missing) - 5} more" if len(self.missing) > 5 else ""
        return f"{len(self.missing)} of {self.partitions} partitions are not reconciled: {names}{more}."

    def as_json(self) -> dict[str, object]:
        return {"partitions": self.partitions, "with_exceptions": self.with_exceptions, "missing": len(self.missing)}


def completeness(phase: Phase | None, workspace: Workspace) -> Completeness | None:
    """How much of a phase, or of the whole migration, is reconciled; None if no campaign has said what it covers."""
    ledger, environment = workspace.ledger, workspace.environment
    scope = ledger.scope(environment)
    if scope is None:
        return None
    partitions = [
        partition
        for table in TABLES.values()
        if table.name in scope.tables and phase in (None, table.phase)
        for partition in partitions_of(table, tuple(scope.months))
    ]
    states = {partition: ledger.reconciliation_state(environment, partition) for partition in partitions}
    return Completeness(
        partitions=len(partitions),
        with_exceptions=sum(state == "reconciled_with_exceptions" for state in states.values()),
        missing=tuple(partition for partition, state in states.items() if state not in RECONCILED_STATES),
    )
