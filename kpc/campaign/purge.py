"""Removing files that hold rows once nobody needs them, with a record of each: `kpc purge`.

For each kind of file of a generation, the tombstones (path, sha256, reason) are first written to
`purged/<kind>.json`, then entered in the audit log, then the files are removed; repeating it finishes what a crash
interrupted. Before an extract is removed, the key hash and checksum of each of its records are kept, so that the
partition can still be compared later.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from kpc.campaign.file_kinds import FileKind
from kpc.campaign.kept_files import GenerationFiles
from kpc.campaign.purge_rules import Need, need_of
from kpc.campaign.sign_off_list import signed_off
from kpc.catalog import TABLES
from kpc.errors import ConfigError, KpcError
from kpc.ledger import GenerationRow
from kpc.ledger.states import GenerationState
from kpc.ledger.vouching import Vouched
from kpc.load.corrected_rows import hashes_of_corrections
from kpc.partition import Partition, find_partition
from kpc.private_files import make_private
from kpc.reconcile.kept_checksums import keep_checksums
from kpc.stages.context import PartitionContext
from kpc.stages.names import STAGES
from kpc.stages.vouched_work import facts_of, file_name
from kpc.stages.workspace import Workspace
from kpc.storage.manifests import ExtractManifest, PurgedFile, PurgedManifest, RowChecksums

log = logging.getLogger(__name__)

ACTION = "files purged"
_AUDIT_FILES = 500  # tombstones in one entry of the audit log


@dataclass(frozen=True, slots=True)
class PurgeWish:
    """What to purge: files of these tables, partition and kinds that are past their retention.

    With `is_due_now`, files of any age. `reason` is written in every tombstone; with `is_dry` nothing is removed.
    """

    tables: tuple[str, ...] = ()
    key: str | None = None
    kinds: tuple[FileKind, ...] = tuple(FileKind)
    reason: str = ""
    is_due_now: bool = False
    is_dry: bool = False


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """The files of one kind of one generation: purged (or, in a dry run, to be purged), or kept because of `need`."""

    partition: Partition
    generation: str
    kind: FileKind
    files: tuple[PurgedFile, ...]
    need: Need | None = None

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def as_json(self) -> dict[str, object]:
        return {
            "table": self.partition.table.name,
            "key": self.partition.key,
            "generation": self.generation,
            "kind": self.kind.value,
            "files": [file.model_dump() for file in self.files],
            "bytes": self.bytes,
            "needed": None if self.need is None else self.need.reason,
            "remedy": None if self.need is None else self.need.remedy,
        }


def purge(workspace: Workspace, wish: PurgeWish) -> Iterator[PurgeResult]:
    """Purge what is due and not needed; what is due but still needed is returned with the reason.

    Raises `ConfigError` for an unknown table or partition. The files of a running partition are needed.
    """
    signed = signed_off(workspace)
    for generation in _generations(workspace, wish):
        context = PartitionContext(workspace, find_partition(generation.table_name, generation.partition_key))
        files = GenerationFiles(context, generation)
        for kind in wish.kinds:
            if not (wish.is_due_now or _is_due(context, generation, kind)):
                continue
            if found := files.of_kind(kind):
                yield _purged(files, kind, found, wish, is_signed_off=context.table.phase in signed)


def wanted_tables(wish: PurgeWish) -> set[str]:
    """The names of the tables to purge. Raises `ConfigError` for an unknown table."""
    tables = {name.upper() for name in wish.tables} or set(TABLES)
    if unknown := tables - set(TABLES):
        raise ConfigError(f"There is no table {min(unknown)!r} in the catalog.", "`kpc status` lists the tables.")
    return tables


def _generations(workspace: Workspace, wish: PurgeWish) -> list[GenerationRow]:
    key = None
    if wish.key is not None:
        if len(wish.tables) != 1:
            raise ConfigError("A partition's key needs its table.", "Name one table with it: `kpc purge TABLE KEY`.")
        key = find_partition(wish.tables[0], wish.key).key
    tables = wanted_tables(wish)
    rows = workspace.ledger.generations.of_environment(workspace.environment)
    return [row for row in rows if row.table_name in tables and key in (None, row.partition_key)]


def _is_due(context: PartitionContext, generation: GenerationRow, kind: FileKind) -> bool:
    since = generation.ended_utc or generation.started_utc
    return context.clock() - since >= timedelta(days=kind.days(context.settings.retention))


def _purged(
    kept: GenerationFiles, kind: FileKind, files: tuple[PurgedFile, ...], wish: PurgeWish, *, is_signed_off: bool
) -> PurgeResult:
    context, generation = kept.context, kept.generation
    need = need_of(context, generation, kind, is_signed_off=is_signed_off)
    if need is None and kind is FileKind.CORRECTIONS and not wish.is_dry and kept.of_kind(FileKind.EXTRACT):
        need = Need("the extract is compared by them", f"`kpc purge {context.table.name} {context.key}` purges both.")
    if need is None and not wish.is_dry:
        try:
            with nothing_runs(context):
                _purge(kept, kind, files, wish.reason)
        except KpcError as error:
            need = Need(error.what.rstrip("."), error.remedy)
    return PurgeResult(context.partition, generation.id, kind, files, need)


@contextmanager
def nothing_runs(context: PartitionContext) -> Iterator[None]:
    """Keep the partition's stages from running meanwhile. Raises `Transient` if one is already running."""
    with ExitStack() as scope:
        for stage in STAGES:
            lease = context.ledger.leases.hold(
                context.environment,
                context.partition,
                stage,
                owner=f"{context.run_id} purge",
                ttl_s=context.settings.lease_s,
                wait_s=0,
            )
            scope.enter_context(lease)
        yield


def _purge(kept: GenerationFiles, kind: FileKind, files: tuple[PurgedFile, ...], reason: str) -> None:
    context, generation, former = kept.context, kept.generation, kept.purged(kind)
    folder = make_private(kept.paths.purged)
    checksums = former.checksums if former else None
    if kind is FileKind.EXTRACT and checksums is None:
        checksums = _checksums(context, generation, folder)
    manifest = PurgedManifest(
        table=context.table.name,
        key=context.key,
        generation=generation.id,
        kind=kind.value,
        reason=reason or f"older than its retention of {kind.days(context.settings.retention)} days",
        actor=context.actor,
        purged_utc=context.clock(),
        files=(*(former.files if former else ()), *files),
        checksums=checksums,
        corrected=hashes_of_corrections(context) if kind is FileKind.CORRECTIONS else (),
    )
    context.store.publish(folder, manifest, name=f"{kind}.json")
    _book(context, manifest, files)
    _remove(context, files)


def _checksums(context: PartitionContext, generation: GenerationRow, folder: Path) -> RowChecksums | None:
    """The checksums of the partition's newest extract; None for an older one, which is never compared again."""
    current = context.ledger.generations.current(context.environment, context.partition)
    if generation.state is not GenerationState.SEALED or current is None or current.id != generation.id:
        return None
    extract = context.store.manifest(context.paths.generation(generation.id).extract, ExtractManifest)
    if extract is None:
        return None
    exceptions = context.ledger.failures.of_partition(context.environment, context.partition)
    scratch = make_private(folder / "work")
    try:
        return keep_checksums(context, extract, exceptions, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _book(context: PartitionContext, manifest: PurgedManifest, files: Sequence[PurgedFile]) -> None:
    """Enter the tombstones in the audit log, before the first file is removed: path, sha256 and reason."""
    folder = context.paths.generation(manifest.generation).purged
    for start in range(0, len(files), _AUDIT_FILES):
        some = files[start : start + _AUDIT_FILES]
        context.ledger.audit.append(
            ACTION,
            actor=context.actor,
            run_id=context.run_id,
            environment=context.environment,
            partition=context.partition,
            generation=manifest.generation,
            detail={"kind": manifest.kind, "files": len(some), "bytes": sum(file.bytes for file in some)},
            vouched=Vouched(
                files=facts_of(context, [folder / f"{manifest.kind}.json"]),
                removed={
                    file_name(context, context.store.root / file.path): (file.sha256, manifest.reason) for file in some
                },
            ),
        )


def _remove(context: PartitionContext, files: Sequence[PurgedFile]) -> None:
    for file in files:
        context.store.remove(context.store.root / file.path)
