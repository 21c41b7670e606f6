"""Where the passes over a table keep what they read, until each month has taken its part."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from ulid import ULID

from kpc.extract.month_reader import OnePassPlan, files_of, month_files
from kpc.extract.partition_extract import extract_spec
from kpc.partition import Partition
from kpc.private_files import make_private
from kpc.stages.context import PartitionContext
from kpc.storage.layout import EXTRACT_PLAN
from kpc.storage.store import FileEntry

# Used in place of a month, where the ledger and the staging directory name a pass.
ONE_PASS = "ONE-PASS"  # noqa: S105  no secret
PASSES = "passes.json"


class OnePassManifest(BaseModel):
    """A finished pass. `keys`: the months that were read completely."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scn: int
    rows: int
    keys: tuple[str, ...] = ()


class PassList(BaseModel):
    """The folders of a table's passes, oldest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MonthOfPass:
    """One month's part of a finished pass."""

    plan: OnePassPlan
    folder: Path
    files: tuple[FileEntry, ...]


def find_month(context: PartitionContext) -> MonthOfPass | None:
    """The partition's part of the newest finished pass, if it is newer than what was last extracted.

    Raises `DamagedFile` if a file differs from what was read.
    """
    current = context.ledger.generations.current(context.environment, context.partition)
    if current is not None and context.workspace.is_of_former_incarnation(current.started_utc):
        current = None  # its SCN is one of another history
    whole = context.of(Partition(context.table, ONE_PASS))
    for folder, plan in reversed(passes(whole)):
        finished = finished_pass(whole, folder)
        if finished is None or context.key not in finished.keys:
            continue
        if plan.spec_hash != extract_spec(whole) or (current is not None and current.scn >= plan.scn):
            return None
        files = month_files(plan, folder, context.store, context.key) or ()
        for file in files:
            remedy = f"Remove {context.store.shown(folder)} and extract the month by itself."
            context.store.file(folder / context.key, file, remedy=remedy)
        return MonthOfPass(plan=plan, folder=folder / context.key, files=files)
    return None


def link_files(month: MonthOfPass, folder: Path) -> None:
    """Link the month's files into an extract's folder, so that a crash half-way loses none."""
    make_private(folder)
    for file in month.files:
        target = folder / file.name
        target.unlink(missing_ok=True)
        os.link(month.folder / file.name, target)


def remove_month(context: PartitionContext, month: MonthOfPass) -> None:
    """Remove the files of a sealed month, and the local folder of a pass whose months are all sealed."""
    for file in month.files:
        context.store.remove(month.folder / file.name)
    shutil.rmtree(month.folder, ignore_errors=True)
    if not any(path.is_dir() for path in month.folder.parent.iterdir()):
        shutil.rmtree(month.folder.parent, ignore_errors=True)


def passes(context: PartitionContext) -> list[tuple[Path, OnePassPlan]]:
    """The passes over a table that still have their plans, oldest first, without those of a former incarnation."""
    return [each for each in _listed(context) if not _is_former(context, each[0])]


def remove_former_passes(context: PartitionContext) -> None:
    """Remove what was read of a former incarnation of the database: its SCNs are those of another history."""
    for folder, plan in _listed(context):
        if _is_former(context, folder):
            remove_pass(context, folder, plan)


def _listed(context: PartitionContext) -> list[tuple[Path, OnePassPlan]]:
    listed = context.store.manifest(context.paths.folder, PassList, PASSES) or PassList()
    folders = [context.paths.folder / name for name in listed.names]
    plans = [(folder, context.store.manifest(folder, OnePassPlan, EXTRACT_PLAN)) for folder in folders]
    return [(folder, plan) for folder, plan in plans if plan is not None]


def _is_former(context: PartitionContext, folder: Path) -> bool:
    return context.workspace.is_of_former_incarnation(ULID.from_str(folder.name).datetime)


def finished_pass(context: PartitionContext, folder: Path) -> OnePassManifest | None:
    """The manifest of a pass, if it has ended."""
    return context.store.manifest(folder, OnePassManifest)


def is_taken(context: PartitionContext, plan: OnePassPlan) -> bool:
    """Whether every month has an extract at least as new as the pass."""
    found = [
        context.ledger.generations.current(context.environment, Partition(context.table, key))
        for key in plan.control_totals
    ]
    return all(one is not None and one.scn >= plan.scn for one in found)


def remove_pass(context: PartitionContext, folder: Path, plan: OnePassPlan) -> None:
    """Remove every file of a pass."""
    for chunk in plan.chunks:
        read = files_of(chunk, folder, context.store)
        for key, file in (read.files if read else {}).items():
            context.store.remove(folder / key / file.name)
        context.store.remove(folder / f"{chunk.name}.json")
    context.store.withdraw(folder, EXTRACT_PLAN)
