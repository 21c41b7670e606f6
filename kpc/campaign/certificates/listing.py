"""The certificates of a migration: the current ones, and every file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kpc.campaign.certificates.issue import PREFIX
from kpc.ledger import Ledger, StageRun
from kpc.partition import Environment
from kpc.stages.names import SF_LOADED
from kpc.stages.workspace import Workspace
from kpc.storage.layout import PartitionPaths

CERTIFICATE = "certificate"  # in the detail of a reconciliation's stage run: the sha256 of its certificate
CERTIFIED_BY = "certified_by"  # the stage run whose certificate that is


@dataclass(frozen=True, slots=True)
class CurrentCertificate:
    """The certificate of a partition's latest verdict.

    `is_current` is false if the partition was loaded, repaired or rolled back since. `path` is where it is stored.
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
    """The certificates of all partitions that have one, read from the ledger only; no file is read."""
    certified = _certified_runs(workspace.ledger, workspace.environment)
    return [_of_run(run, workspace, is_current=is_current) for run, is_current in certified]


def current_hashes(ledger: Ledger, environment: Environment) -> dict[str, str]:
    """The sha256 of each current certificate, by partition (`TABLE KEY`)."""
    certified = _certified_runs(ledger, environment)
    return {
        f"{run.table_name} {run.partition_key}": str((run.detail or {})[CERTIFICATE])
        for run, is_current in certified
        if is_current
    }


def _certified_runs(ledger: Ledger, environment: Environment) -> Iterator[tuple[StageRun, bool]]:
    """The runs of the newest verdicts that have a certificate, and whether nothing was loaded since."""
    loads = {
        (run.table_name, run.partition_key): run.id
        for run in ledger.stages.newest(environment)
        if run.stage == SF_LOADED
    }
    current = {(row.table_name, row.partition_key): row.id for row in ledger.generations.all_current(environment)}
    for run in ledger.stages.newest_verdicts(environment):
        name = (run.table_name, run.partition_key)
        if (run.detail or {}).get(CERTIFICATE):
            yield run, loads.get(name, 0) < run.id and current.get(name) == run.generation


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
