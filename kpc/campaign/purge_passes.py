"""Removing passes over a whole table (`kpc one-pass`) whose months were not extracted within the extracts' retention.

A pass is only a shortcut: a month whose part is gone is read by itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from ulid import ULID

from kpc.campaign.file_kinds import FileKind
from kpc.campaign.purge import ACTION, PurgeResult, PurgeWish, nothing_runs, wanted_tables
from kpc.campaign.purge_rules import Need
from kpc.catalog import TABLES
from kpc.errors import KpcError
from kpc.extract.month_reader import OnePassPlan, files_of
from kpc.extract.pass_files import ONE_PASS, passes, remove_pass
from kpc.ledger.vouching import Vouched
from kpc.partition import Partition
from kpc.stages.context import PartitionContext
from kpc.stages.vouched_work import file_name
from kpc.stages.workspace import Workspace
from kpc.storage.manifests import PurgedFile
from kpc.storage.store import FileEntry, describe_file


def purge_passes(workspace: Workspace, wish: PurgeWish) -> Iterator[PurgeResult]:
    """Purge the passes that are due; they are extracts of many months, so a wish for one month leaves them alone.

    Raises `ConfigError` for an unknown table. A pass that is being read is still needed.
    """
    if wish.key is not None or FileKind.EXTRACT not in wish.kinds:
        return
    for name in sorted(wanted_tables(wish)):
        if not TABLES[name].is_monthly:
            continue
        context = PartitionContext(workspace, Partition(TABLES[name], ONE_PASS))
        for folder, plan in passes(context):
            if (wish.is_due_now or _is_due(context, folder)) and (files := tuple(_tombstones(context, folder, plan))):
                yield _purged(context, folder, plan, files, wish)


def _is_due(context: PartitionContext, folder: Path) -> bool:
    days = FileKind.EXTRACT.days(context.settings.retention)
    return context.clock() - ULID.from_str(folder.name).datetime >= timedelta(days=days)


def _tombstones(context: PartitionContext, folder: Path, plan: OnePassPlan) -> Iterator[PurgedFile]:
    """Tombstones of the files that the pass lists, and on a disk of what an interrupted pass left."""
    found: dict[Path, FileEntry] = {}
    for chunk in plan.chunks:
        read = files_of(chunk, folder, context.store)
        found |= {folder / key / file.name: file for key, file in (read.files if read else {}).items()}
    left = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json" and path not in found)
    found |= {path: describe_file(path, rows=0) for path in left}
    for path, entry in sorted(found.items()):
        if context.store.holds(path):
            name = path.relative_to(context.store.root).as_posix()
            yield PurgedFile(path=name, rows=entry.rows, bytes=entry.bytes, sha256=entry.sha256)


def _purged(
    context: PartitionContext, folder: Path, plan: OnePassPlan, files: tuple[PurgedFile, ...], wish: PurgeWish
) -> PurgeResult:
    result = PurgeResult(context.partition, folder.name, FileKind.EXTRACT, files)
    if wish.is_dry:
        return result
    days = FileKind.EXTRACT.days(context.settings.retention)
    reason = wish.reason or f"older than its retention of {days} days"
    try:
        with nothing_runs(context):
            context.ledger.audit.append(
                ACTION,
                actor=context.actor,
                run_id=context.run_id,
                environment=context.environment,
                partition=context.partition,
                detail={"kind": "pass", "files": len(files), "bytes": result.bytes},
                vouched=Vouched(
                    removed={
                        file_name(context, context.store.root / file.path): (file.sha256, reason) for file in files
                    }
                ),
            )
            remove_pass(context, folder, plan)
            shutil.rmtree(folder, ignore_errors=True)
    except KpcError as error:
        need = Need(error.what.rstrip("."), error.remedy)
        return PurgeResult(context.partition, folder.name, FileKind.EXTRACT, files, need)
    return result
