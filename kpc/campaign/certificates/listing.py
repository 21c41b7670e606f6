"""The certificates of a migration: those that stand now, and every file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kpc.campaign.certificates.issue import PREFIX
from kpc.ledger import StageRun
from kpc.stages.names import SF_LOADED
from kpc.stages.workspace import Workspace
from kpc.storage.layout import PartitionPaths

CERTIFICATE = "certificate"  # in the detail of a reconciliation's stage run: the sha256 of its certificate
CERTIFIED_BY = "certified_by"  # the stage run whose certificate that is


@dataclass(frozen=True, slots=True)
class CurrentCertificate:
    """The certificate of a partition's newest verdict.

    `is_current` is false if the partition was loaded, repaired or rolled back since. `path` is where it lies.
    """

    table: str
    key: str
    state: str
    sha256: str
    path: Path
    is_current: bool

    @property
    def name(self) -> str:
        return f"{self.table} {self.key}"


def current_certificates(workspace: Workspace) -> list[CurrentCertificate]:
    """The certificates of all partitions that have one, from the ledger alone; no file is read."""
    environment = workspace.environment
    loads = {
        (run.table_name, run.partition_key): run.id
        for run in workspace.ledger.stages.newest(environment)
        if run.stage == SF_LOADED
    }
    current = {
        (row.table_name, row.partition_key): row.id for row in workspace.ledger.generations.all_current(environment)
    }
    found = []
    for run in workspace.ledger.stages.newest_verdicts(environment):
        name = (run.table_name, run.partition_key)
        if (run.detail or {}).get(CERTIFICATE):
            is_current = loads.get(name, 0) < run.id and current.get(name) == run.generation
            found.append(_of_run(run, workspace, is_current=is_current))
    return found


def _of_run(run: StageRun, workspace: Workspace, *, is_current: bool) -> CurrentCertificate:
    detail = run.detail or {}
    paths = PartitionPaths.below(
        workspace.store.root, run.source_id, run.target_id, run.table_name.lower(), run.partition_key
    )
    name = f"{PREFIX}{detail.get(CERTIFIED_BY, run.id)}.json"
    return CurrentCertificate(
        table=run.table_name,
        key=run.partition_key,
        state=str(run.state),
        sha256=str(detail[CERTIFICATE]),
        path=paths.generation(run.generation or "").reconciled / name,
        is_current=is_current,
    )


def certificate_files(root: Path) -> Iterator[Path]:
    """Every certificate below a staging root that is a directory, by path."""
    yield from sorted(root.glob(f"*/*/*/*/*/reconciled/{PREFIX}*.json"))
