"""All months of a table in one pass, for a table whose months interleave; each month's next extract takes its share."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from ulid import ULID

from kpc.catalog.table import Table
from kpc.errors import ConfigError, SnapshotLost
from kpc.extract.month_reader import OnePassPlan, make_one_pass_plan, month_files, read_months
from kpc.extract.plan import spec_hash
from kpc.extract.window import refuse_outside
from kpc.partition import Partition, partitions_of
from kpc.stages.result import Made, Receipt
from kpc.stages.stage_run import Turn, run_stage
from kpc.stages.workspace import Workspace
from kpc.storage.manifests import ControlTotals
from kpc.storage.store import FileEntry, make_private, read_manifest, remove_leftovers, verify, write_manifest

log = logging.getLogger(__name__)

# In place of a month, where the ledger and the staging directory speak of a pass.
ONE_PASS = "ONE-PASS"  # noqa: S105  no secret
_PLAN = "plan.json"
_SNAPSHOTS = 3  # tried in one run, as for a single month


class OnePassManifest(BaseModel):
    """A pass that was read to its end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scn: int
    rows: int


class MonthOfPass(BaseModel):
    """One month's share of a finished pass."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    scn: int
    control_totals: ControlTotals
    folder: Path
    files: tuple[FileEntry, ...]


def read_in_one_pass(table: Table, months: tuple[str, ...], workspace: Workspace) -> Receipt:
    """Read the table once, split into `months`. An interrupted pass is carried on from its last finished chunk.

    Raises `ConfigError` for a table that has no months or no ROWIDs, and else what `oracle_extract` raises.
    """
    workspace.store.require_directory("Reading a table in one pass")
    if not table.is_monthly or not table.has_rowid:
        raise ConfigError(
            f"{table.name} is not read by months and ranges of ROWIDs; there is nothing to split.",
            f"Run `kpc run {table.name} ALL --stage oracle_extract`.",
        )

    def make(_turn: Turn) -> Made:
        refuse_outside(workspace.settings.oracle.window, workspace.clock())
        for _ in range(_SNAPSHOTS - 1):
            try:
                return _read(table, months, workspace)
            except SnapshotLost as error:
                log.warning("%s: %s", table.name, error)
                _remove_unfinished(table, workspace)
        return _read(table, months, workspace)

    return run_stage("oracle_extract", Partition(table, ONE_PASS), workspace, make)


def _read(table: Table, months: tuple[str, ...], workspace: Workspace) -> Made:
    partitions = partitions_of(table, months)
    folder, plan = _plan(table, partitions, workspace)

    def between() -> None:
        refuse_outside(workspace.settings.oracle.window, workspace.clock())

    read_months(workspace.oracle, partitions, plan, folder, between)
    rows = sum(one.rows for one in plan.control_totals.values())
    size = sum(file.bytes for key in plan.control_totals for file in month_files(plan, folder, key))
    write_manifest(folder, OnePassManifest(scn=plan.scn, rows=rows))
    return Made(folder.name, rows, size, detail={"scn": plan.scn, "chunks": len(plan.chunks), "months": len(months)})


def _plan(table: Table, partitions: tuple[Partition, ...], workspace: Workspace) -> tuple[Path, OnePassPlan]:
    """The folder and plan of the pass that was interrupted, if it is the same one; otherwise new ones."""
    wanted = _spec(table, workspace)
    for folder in _passes(table, workspace):
        plan = read_manifest(folder, OnePassPlan, _PLAN)
        is_same = (
            plan is not None and plan.spec_hash == wanted and set(plan.control_totals) == {p.key for p in partitions}
        )
        if plan is not None and is_same and not _is_finished(folder):
            log.info("%s: carrying on with the pass at SCN %d", table.name, plan.scn)
            remove_leftovers(folder)
            return folder, plan
    _remove_unfinished(table, workspace)
    scn = workspace.oracle.current_scn()
    plan = make_one_pass_plan(
        workspace.oracle, partitions, scn=scn, spec_hash=wanted, chunk_rows=_chunk_rows(table, workspace)
    )
    folder = make_private(_root(table, workspace) / str(ULID.from_datetime(workspace.clock())))
    write_manifest(folder, plan, _PLAN)
    return folder, plan


def find_month(partition: Partition, workspace: Workspace) -> MonthOfPass | None:
    """The partition's share of the newest finished pass, if it is newer than what was last extracted.

    Raises `DamagedFile` if a file of it is not what was read.
    """
    current = workspace.ledger.current_generation(workspace.environment, partition)
    for folder in reversed(_passes(partition.table, workspace)):
        plan = read_manifest(folder, OnePassPlan, _PLAN)
        if plan is None or not _is_finished(folder) or partition.key not in plan.control_totals:
            continue
        if plan.spec_hash != _spec(partition.table, workspace) or (current is not None and current.scn > plan.scn):
            return None
        share = folder / partition.key
        files = month_files(plan, folder, partition.key)
        if files and not share.is_dir():
            return None  # taken already
        for file in files:
            verify(share, file, remedy=f"Remove {folder} and extract the month by itself.")
        return MonthOfPass(scn=plan.scn, control_totals=plan.control_totals[partition.key], folder=share, files=files)
    return None


def move_in(month: MonthOfPass, folder: Path) -> None:
    """Make the share's files those of an extract. They are linked, so that a crash half-way loses none."""
    make_private(folder)
    for file in month.files:
        target = folder / file.name
        target.unlink(missing_ok=True)
        os.link(month.folder / file.name, target)


def drop_share(month: MonthOfPass) -> None:
    """The month's extract is sealed; a pass whose months are all taken leaves nothing behind."""
    shutil.rmtree(month.folder, ignore_errors=True)
    if not any(path.is_dir() for path in month.folder.parent.iterdir()):
        shutil.rmtree(month.folder.parent, ignore_errors=True)


def _root(table: Table, workspace: Workspace) -> Path:
    return workspace.store.partition_dir(workspace.environment, Partition(table, ONE_PASS))


def _passes(table: Table, workspace: Workspace) -> list[Path]:
    """The folders of all passes, oldest first."""
    root = _root(table, workspace)
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _is_finished(folder: Path) -> bool:
    return read_manifest(folder, OnePassManifest) is not None


def _remove_unfinished(table: Table, workspace: Workspace) -> None:
    for folder in _passes(table, workspace):
        if not _is_finished(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _chunk_rows(table: Table, workspace: Workspace) -> int:
    return min(table.chunk_rows, workspace.settings.staging.chunk_rows)


def _spec(table: Table, workspace: Workspace) -> str:
    return spec_hash(workspace.oracle.owner, Partition(table, ONE_PASS), _chunk_rows(table, workspace))
