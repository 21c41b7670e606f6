"""The numbers that a person signs for, by table: from the current verdicts in the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from typing import Any, Self

from kpc.campaign.planned_partitions import partitions_in_scope
from kpc.catalog import Phase
from kpc.catalog.table import Table
from kpc.ledger import ScopeRow
from kpc.stages.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums over partitions.

    `exceptions` are rows that staging rejected or Salesforce refused, `repaired` those that hold people's corrections.
    `compared` records were read back and compared one by one; for `opinions` of them Oracle itself had computed, by
    independent rules, what Salesforce must hold. `purged` partitions were compared only by hashes and checksums.
    """

    source_rows: int = 0
    target_rows: int = 0
    exceptions: int = 0
    repaired: int = 0
    compared: int = 0
    opinions: int = 0
    partitions: int = 0
    purged: int = 0

    @classmethod
    def of_verdict(cls, detail: Mapping[str, Any]) -> Self:
        """The figures in the detail of a reconciliation's stage run."""
        return cls(
            source_rows=int(detail.get("source_rows", 0)),
            target_rows=int(detail.get("target_rows", 0)),
            exceptions=int(detail.get("exceptions", 0)),
            repaired=int(detail.get("repaired", 0)),
            compared=int(detail.get("records_compared", 0)),
            opinions=int(detail.get("opinions_compared", 0)),
            partitions=1,
            purged=int("compared_only" in detail),
        )

    @classmethod
    def total(cls, parts: Iterable[Figures]) -> Self:
        return cls(*(sum(column) for column in zip(*map(astuple, parts), strict=True)))


@dataclass(frozen=True, slots=True)
class TableFigures:
    """A table's figures; `causes` are its open exceptions by error code, `unassigned` rows by cause."""

    table: Table
    figures: Figures
    causes: Mapping[str, int]
    unassigned: Mapping[str, int]


def table_figures(phase: Phase | None, scope: ScopeRow, workspace: Workspace) -> tuple[TableFigures, ...]:
    """The figures of each planned table of a phase, or of the migration, in load order."""
    ledger, environment = workspace.ledger, workspace.environment
    verdicts = {
        (run.table_name, run.partition_key): Figures.of_verdict(run.detail or {})
        for run in ledger.stages.newest_verdicts(environment)
    }
    causes: dict[str, Counter[str]] = {}
    planned: dict[str, list[Figures]] = {}
    tables = {}
    for one in partitions_in_scope(phase, scope):
        tables[one.table.name] = one.table
        planned.setdefault(one.table.name, []).append(verdicts.get((one.table.name, one.key), Figures()))
    for table, _, code, rows in ledger.failures.counts(environment):
        causes.setdefault(table, Counter())[code] += rows
    return tuple(
        TableFigures(table, Figures.total(planned[name]), causes.get(name, {}), scope.unassigned.get(name, {}))
        for name, table in tables.items()
    )
