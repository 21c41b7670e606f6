"""All months of a table in one pass, for a table whose months interleave; each month's next extract takes its part."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from ulid import ULID

from kpc.catalog.table import Table
from kpc.errors import ConfigError, SnapshotLost
from kpc.extract.month_reader import OnePassPlan, make_one_pass_plan, month_files, read_months
from kpc.extract.partition_extract import (
    chunk_rows,
    extract_spec,
    publish_extract,
    refuse_outside_window,
    seal,
    start_generation,
)
from kpc.extract.plan import ExtractPlan
from kpc.extract.snapshot import book_month_of_pass, choose_pass_scn, giving_up
from kpc.partition import Partition, partitions_of
from kpc.stages.context import PartitionContext, StageContext
from kpc.stages.names import ORACLE_EXTRACT
from kpc.stages.result import StageResult
from kpc.stages.stage_run import run_stage
from kpc.stages.workspace import Workspace
from kpc.storage.layout import EXTRACT_PLAN
from kpc.storage.manifests import ControlTotals, ExtractManifest, StageOutput
from kpc.storage.store import FileEntry, make_private, read_manifest, remove_leftovers, verify, write_manifest

log = logging.getLogger(__name__)

# Used in place of a month, where the ledger and the staging directory name a pass.
ONE_PASS = "ONE-PASS"  # noqa: S105  no secret
_SNAPSHOTS = 3  # SCNs tried in one run, as for a single month


class OnePassManifest(BaseModel):
    """A completely read pass."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scn: int
    rows: int


@dataclass(frozen=True, slots=True)
class OnePass:
    """A finished pass: the name of its folder, its SCN and what was read."""

    name: str
    scn: int
    rows: int
    bytes: int
    chunks: int
    months: int

    def output(self) -> StageOutput:
        """What the stage run records."""
        detail: dict[str, int | str] = {"scn": self.scn, "chunks": self.chunks, "months": self.months}
        return StageOutput(self.name, self.rows, self.bytes, detail=detail)


class MonthOfPass(BaseModel):
    """One month's part of a finished pass."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    scn: int
    control_totals: ControlTotals
    folder: Path
    files: tuple[FileEntry, ...]


def read_in_one_pass(table: Table, months: tuple[str, ...], workspace: Workspace) -> StageResult:
    """Read the table once, split into `months`. An interrupted pass continues after its last finished chunk.

    Raises `ConfigError` for a table that has no months or no ROWIDs, otherwise what `oracle_extract` raises.
    """
    workspace.store.require_directory("Reading a table in one pass")
    if not table.is_monthly or not table.has_rowid:
        raise ConfigError(
            f"{table.name} cannot be read in one pass: it is not partitioned by month, or has no ROWIDs.",
            f"Run `kpc run {table.name} ALL --stage oracle_extract`.",
        )

    def read(context: StageContext) -> OnePass:
        refuse_outside_window(context)
        for _ in range(_SNAPSHOTS - 1):
            try:
                return _read(context, months)
            except SnapshotLost as error:
                log.warning("%s: %s", table.name, error)
                _remove_unfinished(context)
        return _read(context, months)

    return run_stage(PartitionContext(workspace, Partition(table, ONE_PASS)), ORACLE_EXTRACT, read).result


def _read(context: StageContext, months: tuple[str, ...]) -> OnePass:
    partitions = partitions_of(context.table, months)
    folder, plan = _plan(context, partitions)

    def between() -> None:
        refuse_outside_window(context)

    with giving_up(context, plan.scn):
        read_months(context.oracle, partitions, plan, folder, between)
    rows = sum(one.rows for one in plan.control_totals.values())
    size = sum(file.bytes for key in plan.control_totals for file in month_files(plan, folder, key))
    write_manifest(folder, OnePassManifest(scn=plan.scn, rows=rows))
    return OnePass(folder.name, plan.scn, rows, size, len(plan.chunks), len(months))


def _plan(context: PartitionContext, partitions: tuple[Partition, ...]) -> tuple[Path, OnePassPlan]:
    """The folder and plan of an interrupted pass over the same months; otherwise new ones."""
    wanted = extract_spec(context)
    for folder in _passes(context):
        plan = read_manifest(folder, OnePassPlan, EXTRACT_PLAN)
        keys = {partition.key for partition in partitions}
        is_same = plan is not None and plan.spec_hash == wanted and set(plan.control_totals) == keys
        if plan is not None and is_same and not _is_finished(folder):
            log.info("%s: continuing the pass at SCN %d", context.table.name, plan.scn)
            remove_leftovers(folder)
            return folder, plan
    _remove_unfinished(context)
    scn = choose_pass_scn(context)
    with giving_up(context, scn):
        plan = make_one_pass_plan(context.oracle, partitions, scn=scn, spec_hash=wanted, chunk_rows=chunk_rows(context))
    folder = make_private(context.paths.folder / str(ULID.from_datetime(context.clock())))
    write_manifest(folder, plan, EXTRACT_PLAN)
    return folder, plan


def month_of_one_pass(context: StageContext) -> ExtractManifest | None:
    """The month's part of a pass over the whole table, sealed as its extract; None if there is none."""
    month = find_month(context)
    if month is None:
        return None
    book_month_of_pass(context, context.of(Partition(context.table, ONE_PASS)), month.scn)
    generation = start_generation(context, month.scn)
    link_files(month, context.paths.generation(generation).extract)
    plan = ExtractPlan(
        scn=month.scn,
        mode=context.mode,
        spec_hash=extract_spec(context),
        control_totals=month.control_totals,
        chunks=(),
        started_utc=context.clock(),
    )
    manifest = seal(context, publish_extract(context, generation, plan, month.files))
    remove_month(month)
    return manifest


def find_month(context: PartitionContext) -> MonthOfPass | None:
    """The partition's part of the newest finished pass, if it is newer than what was last extracted.

    Raises `DamagedFile` if a file differs from what was read.
    """
    current = context.ledger.generations.current(context.environment, context.partition)
    whole = context.of(Partition(context.table, ONE_PASS))
    for folder in reversed(_passes(whole)):
        plan = read_manifest(folder, OnePassPlan, EXTRACT_PLAN)
        if plan is None or not _is_finished(folder) or context.key not in plan.control_totals:
            continue
        if plan.spec_hash != extract_spec(whole) or (current is not None and current.scn > plan.scn):
            return None
        source = folder / context.key
        files = month_files(plan, folder, context.key)
        if files and not source.is_dir():
            return None  # already taken by an extract
        for file in files:
            verify(source, file, remedy=f"Remove {folder} and extract the month by itself.")
        return MonthOfPass(scn=plan.scn, control_totals=plan.control_totals[context.key], folder=source, files=files)
    return None


def link_files(month: MonthOfPass, folder: Path) -> None:
    """Link the month's files into an extract's folder, so that a crash half-way loses none."""
    make_private(folder)
    for file in month.files:
        target = folder / file.name
        target.unlink(missing_ok=True)
        os.link(month.folder / file.name, target)


def remove_month(month: MonthOfPass) -> None:
    """Remove the files of a sealed month, and the folder of a pass whose months are all sealed."""
    shutil.rmtree(month.folder, ignore_errors=True)
    if not any(path.is_dir() for path in month.folder.parent.iterdir()):
        shutil.rmtree(month.folder.parent, ignore_errors=True)


def _passes(context: PartitionContext) -> list[Path]:
    """The folders of all passes over a table, oldest first."""
    root = context.paths.folder
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _is_finished(folder: Path) -> bool:
    return read_manifest(folder, OnePassManifest) is not None


def _remove_unfinished(context: PartitionContext) -> None:
    for folder in _passes(context):
        if not _is_finished(folder):
            shutil.rmtree(folder, ignore_errors=True)
