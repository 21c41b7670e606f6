"""One part of one partition's way, for a process of its own: a stage, or half of the load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from assets.oracle_extract import oracle_extract
from assets.reconciled import reconciled
from assets.sf_loaded import sf_loaded
from assets.staged_csv import staged_csv
from kpc.bench.oracle_tables import MONTH
from kpc.catalog import find_table
from kpc.catalog.table import Table
from kpc.catalog.types import ALL
from kpc.load.load_chunks import load_chunks
from kpc.load.plan import plan
from kpc.partition import Partition
from kpc.settings import OracleSettings, ReconcileSettings, SalesforceSettings, Settings, StagingSettings
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import staged_manifest
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, SF_LOADED, STAGED_CSV
from kpc.stages.stage_run import leased
from kpc.stages.workspace import Workspace, open_workspace

LOAD, PUBLISH = "sf_loaded, jobs", "sf_loaded, bookkeeping"
STAGES_IN_ORDER = (oracle_extract, staged_csv, sf_loaded, reconciled)
RUNS = (ORACLE_EXTRACT, STAGED_CSV, LOAD, PUBLISH, RECONCILED)
_STAGES = {ORACLE_EXTRACT: oracle_extract, STAGED_CSV: staged_csv, PUBLISH: sf_loaded, RECONCILED: reconciled}


def run_part(folder: str, oracle: Mapping[str, str], org: Mapping[str, str], table: str, part: str) -> int:
    """Run one of `RUNS` for a table's partition. Returns the partition's rows."""
    with open_between(folder, oracle, org) as workspace:
        context = PartitionContext(workspace, _partition(find_table(table)))
        if part != LOAD:
            return _STAGES[part].materialize(context).rows
        with leased(context, SF_LOADED) as held:
            staged = staged_manifest(held)
            return sum(result.loaded for result in load_chunks(held, plan(held, staged)))


def verdict_of(folder: str, oracle: Mapping[str, str], org: Mapping[str, str], table: str) -> str:
    """The state in which the reconciliation of a table's partition ended."""
    with open_between(folder, oracle, org) as workspace:
        run = workspace.ledger.stages.last(workspace.environment, _partition(find_table(table)), RECONCILED)
        assert run is not None  # noqa: S101  reconciled just before
        return str(run.state)


def load_parents(folder: str, oracle: Mapping[str, str], org: Mapping[str, str], table: str) -> int:
    """Load every table that `table` refers to, parents first. Returns their rows."""
    rows = 0
    with open_between(folder, oracle, org) as workspace:
        for parent in _ancestors(find_table(table)):
            context = PartitionContext(workspace, _partition(parent))
            rows += [stage.materialize(context) for stage in (oracle_extract, staged_csv, sf_loaded)][-1].rows
    return rows


def _ancestors(table: Table) -> tuple[Table, ...]:
    found: dict[str, Table] = {}
    for lookup in table.lookups:
        parent = find_table(lookup.parent)
        found |= {each.name: each for each in (*_ancestors(parent), parent)}
    return tuple(found.values())


def _partition(table: Table) -> Partition:
    return Partition(table, MONTH if table.is_monthly else ALL)


@contextmanager
def open_between(folder: str, oracle: Mapping[str, str], org: Mapping[str, str]) -> Iterator[Workspace]:
    """A workspace between two emulators; ledger, staging root and Data Docs lie in `folder`."""
    place = Path(folder)
    settings = Settings(
        oracle=OracleSettings(dsn=oracle["dsn"], user=oracle["user"], password=SecretStr(oracle["password"])),
        salesforce=SalesforceSettings(
            base_url=org["base_url"], client_id=org["client_id"], client_secret=SecretStr(org["client_secret"])
        ),
        staging=StagingSettings(root=str(place / "staging"), free_bytes=0),
        reconcile=ReconcileSettings(docs_root=place / "docs"),
        ledger_url=SecretStr(f"sqlite:///{place}/ledger.db"),
        hash_key=SecretStr("bench"),
    )
    with open_workspace(settings, run_id="bench", actor="bench") as workspace:
        yield workspace
