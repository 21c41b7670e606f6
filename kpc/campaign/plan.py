"""Planning a campaign: its scope, checked against Oracle and recorded in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kpc.campaign.assignment import Assignment, assign
from kpc.campaign.planned_partitions import readable_months
from kpc.campaign.read_back import ReadBack, read_back
from kpc.catalog import TABLES
from kpc.catalog.table import Table
from kpc.errors import ConfigError
from kpc.extract.access_path import Access, CountedTable, choose_access
from kpc.extract.rowid_clustering import scan_ratios
from kpc.extract.table_storage import storage_of
from kpc.ledger import Ledger, Vouched
from kpc.ledger.states import StageState
from kpc.partition import Environment
from kpc.stages.workspace import Workspace

_PLANNED = "campaign planned"
ROWS_BY_TABLE = "rows_by_table"


@dataclass(frozen=True, slots=True)
class CampaignPlan:
    """Every table in scope with its partitions' row counts, all at one SCN.

    `scan_ratios`: rows in a month's ROWID ranges per row of that month, by table and month. `access`: how each table is
    read, with its estimate. `read_back`: what reconciling each table in full costs the org.
    """

    scn: int
    months: tuple[str, ...]
    mode: str
    assignments: tuple[Assignment, ...]
    scan_ratios: dict[str, dict[str, float]]
    access: dict[str, Access]
    read_back: dict[str, ReadBack]

    @property
    def read_back_total(self) -> ReadBack:
        return sum(self.read_back.values(), ReadBack())

    @property
    def rows(self) -> int:
        return sum(sum(one.by_key.values()) for one in self.assignments)

    @property
    def partitions(self) -> int:
        return sum(len(one.by_key) for one in self.assignments)

    @property
    def unassigned_rows(self) -> int:
        return sum(one.unassigned_rows for one in self.assignments)


def plan_campaign(workspace: Workspace, tables: tuple[Table, ...], months: tuple[str, ...], mode: str) -> CampaignPlan:
    """Count all partitions at one SCN and record the scope, which hubs and sign-off use from now on.

    Raises `ConfigError` if a table is in scope without its parents: its lookups would fail.
    """
    refuse_without_parents(workspace, tables)
    scn = workspace.oracle.current_scn()
    assignments = tuple(assign(workspace.oracle, table, months, scn) for table in tables)
    ratios = {one.table: _scan_ratios(workspace, one, months) for one in assignments}
    access = {one.table: _access(workspace, one, ratios[one.table]) for one in assignments}
    settings = workspace.settings.salesforce
    back = {one.table: read_back(TABLES[one.table], one.by_key.items(), settings) for one in assignments}
    plan = CampaignPlan(scn, months, mode, assignments, ratios, access, back)
    with workspace.ledger.together():
        number = workspace.ledger.scope.set(
            workspace.environment,
            months=months,
            tables=[table.name for table in tables],
            mode=mode,
            run_id=workspace.run_id,
            actor=workspace.actor,
            unassigned={one.table: _by_cause(one) for one in assignments if one.unassigned_rows},
            access={table: way.path.value for table, way in access.items()},
            rows={one.table: one.by_key for one in assignments},
        )
        _audit(workspace, plan, Vouched((("scope", str(number)),)))
    return plan


def refuse_without_parents(workspace: Workspace, tables: Sequence[Table]) -> None:
    """Raise `ConfigError` if a table is in scope without its parents: its lookups would fail."""
    names = {table.name for table in tables}
    for table in tables:
        for lookup in table.lookups:
            if lookup.parent not in names and not _was_loaded(lookup.parent, workspace):
                raise ConfigError(
                    f"{table.name} refers to {lookup.parent}, which is not in scope.",
                    f"Add {lookup.parent} to the tables.",
                )


def _audit(workspace: Workspace, plan: CampaignPlan, vouched: Vouched) -> None:
    workspace.ledger.audit.append(
        _PLANNED,
        actor=workspace.actor,
        run_id=workspace.run_id,
        environment=workspace.environment,
        vouched=vouched,
        detail={
            "scn": plan.scn,
            "months": list(plan.months),
            "tables": [one.table for one in plan.assignments],
            "mode": plan.mode,
            "rows": plan.rows,
            ROWS_BY_TABLE: {one.table: sum(one.by_key.values()) for one in plan.assignments},
            "unassigned": plan.unassigned_rows,
            "access": {table: way.path.value for table, way in plan.access.items()},
        },
    )


def planned_rows(ledger: Ledger, environment: Environment) -> dict[str, int]:
    """The rows of each table in scope, by the newest plan; empty if none was made."""
    entries = ledger.audit.of_action(_PLANNED, environment, limit=1)
    return {table: int(rows) for entry in entries for table, rows in entry.detail.get(ROWS_BY_TABLE, {}).items()}


def _by_cause(counted: Assignment) -> dict[str, int]:
    return {cause.value: rows for cause, rows in counted.unassigned.items()}


def _scan_ratios(workspace: Workspace, counted: Assignment, months: tuple[str, ...]) -> dict[str, float]:
    table = TABLES[counted.table]
    chunk_rows = min(table.chunk_rows, workspace.settings.staging.chunk_rows)
    return scan_ratios(workspace.oracle, table, months, counted.scn, counted.rows, chunk_rows)


def _access(workspace: Workspace, counted: Assignment, ratios: dict[str, float]) -> Access:
    table, oracle = TABLES[counted.table], workspace.oracle
    with oracle.session(f"storage {table.name}", table.name) as session:
        storage = storage_of(session, oracle, table.name)
    return choose_access(table, storage, CountedTable(counted.rows, counted.by_key, ratios))


def _was_loaded(parent: str, workspace: Workspace) -> bool:
    runs = workspace.ledger.stages.newest(workspace.environment)
    return any(run.table_name == parent and run.stage == "sf_loaded" and run.state == StageState.DONE for run in runs)


def unassigned(workspace: Workspace, table: Table) -> Assignment:
    """The rows of a table that belong to no month of the planned scope, by cause, at the current SCN."""
    scope = workspace.ledger.scope.current(workspace.environment)
    if scope is None:
        raise ConfigError("No campaign has been planned yet.", "Run `kpc plan --months FIRST:COUNT` first.")
    return assign(workspace.oracle, TABLES[table.name], readable_months(scope), workspace.oracle.current_scn())
