"""Audit entries of work on a partition: that it began, how it ended, and the rows and files that they vouch for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpc.errors import LeaseLost
from kpc.ledger.vouching import Group, Vouched, WorkMark, partition_label, tables_of
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, SF_LOADED, STAGED_CSV
from kpc.storage.layout import CLEANED, REPORT
from kpc.storage.store import MANIFEST, sha256_of
from kpc.tool_version import tool_version

if TYPE_CHECKING:
    from kpc.stages.context import LeasedContext, PartitionContext
    from kpc.stages.workspace import Workspace
    from kpc.storage.manifests import StageOutput

STAGING, DOCS = "staging", "docs"  # the two roots that the names of vouched files begin with

Files = Mapping[str, tuple[int, str] | None]


def book_begin(held: LeasedContext, stage_run: int | None = None) -> None:
    """Record that work begins: from now until `book_end` the partition's rows of this stage may change."""
    groups = (*_partition_groups(held), *_run_groups(stage_run))
    _append(held, f"{held.lease.stage} begun", Vouched(groups, moment=WorkMark.BEGUN), {"tool": tool_version()})


def book_end(
    held: LeasedContext,
    action: str = "",
    stage_run: int | None = None,
    *,
    files: Files | None = None,
    detail: Mapping[str, int | str] | None = None,
    generation: str | None = None,
    mapping_version: str | None = None,
) -> None:
    """Record how work ended, and vouch for its rows and files. A run that lost its lease vouches for its row only."""
    stage = held.lease.stage
    groups: list[Group] = list(_run_groups(stage_run))
    moment = None
    with suppress(LeaseLost):
        held.ledger.leases.require(held.lease)
        groups += _partition_groups(held)
        moment = WorkMark.ENDED
    if stage_run is not None and stage == RECONCILED:
        groups.append(("reconciliation", str(stage_run)))
    vouched = Vouched(tuple(groups), files if files and moment else {}, moment=moment)
    known = {"generation": generation, "mapping_version": mapping_version}
    _append(held, action or f"{stage} given back", vouched, detail or {}, **known)


def record_mapping(held: LeasedContext) -> str:
    """Record the table's declaration under its mapping version, unless it is already recorded; returns the version."""
    ledger, version = held.ledger, held.table.mapping_version
    if ledger.mappings.is_known(version):
        return version
    with ledger.together():
        ledger.mappings.remember(held.table)
        _append(held, "mapping recorded", Vouched((("mapping_version", version),)), {}, mapping_version=version)
    return version


def _append(held: LeasedContext, action: str, vouched: Vouched, detail: Mapping[str, int | str], **known: Any) -> None:
    held.ledger.audit.append(
        action,
        actor=held.actor,
        run_id=held.run_id,
        environment=held.environment,
        partition=held.partition,
        stage=held.lease.stage,
        detail=dict(detail),
        vouched=vouched,
        **known,
    )


def _partition_groups(held: LeasedContext) -> Iterator[Group]:
    name = partition_label(held.environment, held.partition)
    return ((table, name) for table in tables_of(held.lease.stage))


def _run_groups(stage_run: int | None) -> Iterator[Group]:
    if stage_run is not None:
        yield "stage_run", str(stage_run)


def files_of_stage(held: LeasedContext, output: StageOutput | None) -> Files:
    """Size and sha256 of the manifests and reports that a stage wrote; None for one that does not exist.

    Without `output` (the stage failed) the files are those of the partition's current generation.
    """
    generation = output.generation if output is not None else _current_generation(held)
    version = (output.mapping_version if output is not None else None) or held.table.mapping_version
    expected = list(_expected(held, generation, version)) if generation else []
    more = () if output is None else output.files
    folders = {path.parent for path in expected if path.name == MANIFEST}
    beside = (path for folder in folders for path in sorted(folder.glob("*.json")))
    return facts_of(held, [*expected, *beside, *more])


def facts_of(context: PartitionContext, paths: Iterable[Path]) -> dict[str, tuple[int, str] | None]:
    """`facts_of_files` for the files of a partition."""
    return facts_of_files(context.workspace, paths)


def facts_of_files(workspace: Workspace, paths: Iterable[Path]) -> dict[str, tuple[int, str] | None]:
    """Size and sha256 of files in the staging root or the Data Docs, by the names under which they are vouched for."""
    return {file_name(workspace, path): _fact(workspace, path) for path in paths}


def file_name(context: PartitionContext | Workspace, path: Path) -> str:
    """The name of a file in the audit log and in certificates: its root and its path below it."""
    with suppress(ValueError):
        return f"{STAGING}/{path.relative_to(context.store.root).as_posix()}"
    return f"{DOCS}/{path.resolve().relative_to(context.settings.reconcile.docs_root.resolve()).as_posix()}"


def _fact(context: Workspace, path: Path) -> tuple[int, str] | None:
    if context.store.remote is None or not path.is_relative_to(context.store.root):
        return (path.stat().st_size, sha256_of(path)) if path.is_file() else None
    content = context.store.content(path)  # what the store really holds; the scratch directory may have another version
    return None if content is None else (len(content), hashlib.sha256(content).hexdigest())


def _current_generation(held: LeasedContext) -> str | None:
    current = held.ledger.generations.current(held.environment, held.partition)
    return current.id if current is not None else None


def _expected(held: LeasedContext, generation: str, version: str) -> Iterator[Path]:
    paths, stage = held.paths.generation(generation), held.lease.stage
    if stage == ORACLE_EXTRACT:
        yield paths.extract / MANIFEST
    elif stage == STAGED_CSV:
        yield from (paths.staged(version) / name for name in (MANIFEST, CLEANED))
    elif stage == SF_LOADED:
        yield from (folder / MANIFEST for folder in (paths.loaded(version), paths.pre_image(version), paths.rollback))
    elif stage == RECONCILED:
        yield paths.reconciled / REPORT
    if stage in (STAGED_CSV, SF_LOADED) and held.store.remote is None:
        yield from (held.paths.loaded_index, held.paths.corrected_rows)
