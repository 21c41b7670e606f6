"""Station 1: a partition as of one SCN, as Parquet, checked against Oracle's own totals and then sealed."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from kpc.errors import SnapshotLost, Terminal
from kpc.extract.chunk_reader import read_chunks
from kpc.extract.control_totals import check_control_totals, measure_rows, scan_chunks
from kpc.extract.incremental_extract import CHANGES, find_base, renewed_chunks
from kpc.extract.one_pass import drop_share, find_month, move_in
from kpc.extract.plan import Base, ExtractPlan, Mode, make_plan, spec_hash
from kpc.extract.window import refuse_outside
from kpc.ledger import Lease
from kpc.partition import Partition
from kpc.stages.result import Made, Receipt
from kpc.stages.stage_run import Turn, run_stage
from kpc.stages.workspace import Workspace
from kpc.storage.manifests import ExtractManifest
from kpc.storage.store import FileEntry, read_manifest, remove_leftovers, write_manifest

log = logging.getLogger(__name__)

_PLAN = "plan.json"
_SNAPSHOTS = 3  # generations tried in one run before a person must look at the undo retention
_BYTES_PER_CELL = 16  # compressed, generous; for the free-space check only


def oracle_extract(partition: Partition, workspace: Workspace, mode: Mode = "incremental") -> Receipt:
    """Seal a new generation of the partition. An interrupted one is carried on from its last finished chunk.

    Raises `OutsideWindow` outside the hours in which Oracle may be read, also between two chunks.
    """

    def make(turn: Turn) -> Made:
        refuse_outside(workspace.settings.oracle.window, workspace.clock())
        if (fresh := _fresh_enough(partition, workspace, mode)) is not None:
            log.info("%s: generation %s was begun after this run was asked for; it stands", partition, fresh.generation)
            return _made(fresh)
        if (shared := _from_one_pass(partition, workspace, mode, turn.lease)) is not None:
            return shared
        for _ in range(_SNAPSHOTS - 1):
            try:
                return _seal_one(partition, workspace, mode, turn.lease)
            except SnapshotLost as error:
                log.warning("%s: %s", partition, error)
        return _seal_one(partition, workspace, mode, turn.lease)

    return run_stage("oracle_extract", partition, workspace, make, mode=mode)


def extract_folder(partition: Partition, workspace: Workspace, generation: str) -> Path:
    return workspace.store.generation_dir(workspace.environment, partition, generation) / "extract"


def sealed_extract(partition: Partition, workspace: Workspace, generation: str) -> ExtractManifest:
    """The manifest of a sealed extract. Raises `Terminal` if its files are gone."""
    manifest = workspace.store.manifest(extract_folder(partition, workspace, generation), ExtractManifest)
    if manifest is None:
        raise Terminal(
            f"The extract of {partition}, generation {generation}, is not in the staging directory.",
            f"Extract it again: `kpc rerun {partition.table.name} {partition.key}`. All workers must see the same "
            "KPC__STAGING__ROOT.",
        )
    return manifest


def _seal_one(partition: Partition, workspace: Workspace, mode: Mode, lease: Lease) -> Made:
    """One generation from its SCN to its seal. Raises `SnapshotLost` after giving the generation up."""
    generation, scn = _open_generation(partition, workspace, mode, lease)
    try:
        plan = _plan(partition, workspace, generation, scn, mode)
        manifest = _extract(partition, workspace, generation, plan)
    except SnapshotLost as error:
        workspace.ledger.abandon_generation(generation, str(error), lease=lease)
        raise
    made = _made(manifest)
    workspace.ledger.seal_generation(generation, rows=made.rows, raw_bytes=made.bytes, lease=lease)
    return made


def _made(manifest: ExtractManifest) -> Made:
    size = sum(chunk.bytes for chunk in manifest.chunks)
    detail: dict[str, int | str] = {"scn": manifest.scn, "chunks": len(manifest.chunks), "mode": manifest.mode}
    if manifest.base is not None:
        detail |= {"read_rows": manifest.read_rows, "since": str(manifest.since), "base": manifest.base}
    return Made(manifest.generation, manifest.rows, size, detail=detail)


def _fresh_enough(partition: Partition, workspace: Workspace, mode: Mode) -> ExtractManifest | None:
    """The sealed extract of another run that began after this one was asked for: two runs of one key are one work."""
    current = workspace.ledger.current_generation(workspace.environment, partition)
    if current is None or workspace.asked_utc is None or current.run_id == workspace.run_id:
        return None
    wanted = _spec(partition, workspace)
    if current.started_utc < workspace.asked_utc or (current.spec_hash, current.mode) != (wanted, mode):
        return None
    return workspace.store.manifest(extract_folder(partition, workspace, current.id), ExtractManifest)


def _open_generation(partition: Partition, workspace: Workspace, mode: Mode, lease: Lease) -> tuple[str, int]:
    """The generation that an interrupted run left open, or a new one at the current SCN."""
    ledger, environment = workspace.ledger, workspace.environment
    wanted = _spec(partition, workspace)
    unfinished = ledger.open_generation(environment, partition)
    if unfinished is not None:
        if unfinished.spec_hash == wanted and unfinished.mode == mode:
            log.info("%s: carrying on with generation %s at SCN %d", partition, unfinished.id, unfinished.scn)
            return unfinished.id, unfinished.scn
        ledger.abandon_generation(unfinished.id, "the next run asked for another mode or declaration", lease=lease)
    scn = workspace.oracle.current_scn()
    generation = ledger.start_generation(
        environment, partition, scn=scn, mode=mode, spec_hash=wanted, run_id=workspace.run_id, lease=lease
    )
    return generation, scn


def _spec(partition: Partition, workspace: Workspace) -> str:
    return spec_hash(workspace.oracle.owner, partition, _chunk_rows(partition, workspace))


def _chunk_rows(partition: Partition, workspace: Workspace) -> int:
    return min(partition.table.chunk_rows, workspace.settings.staging.chunk_rows)


def _plan(partition: Partition, workspace: Workspace, generation: str, scn: int, mode: Mode) -> ExtractPlan:
    """The generation's plan as it was written down, or made and written down now."""
    plan = read_manifest(extract_folder(partition, workspace, generation), ExtractPlan, _PLAN)
    if plan is not None:
        return plan
    base = None
    if mode == "incremental":
        base = find_base(partition, workspace, _spec(partition, workspace))
    return _make_plan(partition, workspace, generation, scn, mode, base)


def _make_plan(
    partition: Partition, workspace: Workspace, generation: str, scn: int, mode: Mode, base: Base | None
) -> ExtractPlan:
    plan = make_plan(
        workspace.oracle,
        partition,
        scn=scn,
        mode=mode,
        chunk_rows=_chunk_rows(partition, workspace),
        started_utc=workspace.clock(),
        base=base,
    )
    write_manifest(extract_folder(partition, workspace, generation), plan, _PLAN)
    return plan


def _extract(partition: Partition, workspace: Workspace, generation: str, plan: ExtractPlan) -> ExtractManifest:
    folder = extract_folder(partition, workspace, generation)
    remove_leftovers(folder)
    workspace.store.check_space(plan.control_totals.rows * len(partition.table.columns) * _BYTES_PER_CELL)

    def between() -> None:
        refuse_outside(workspace.settings.oracle.window, workspace.clock())

    chunks = renewed_chunks(partition, workspace, plan, folder, between)
    if chunks is None:
        if plan.base is not None:
            plan = _make_plan(partition, workspace, generation, plan.scn, plan.mode, base=None)
        chunks = read_chunks(workspace.oracle, partition, plan, folder, between)
    return _manifest(partition, workspace, generation, plan, chunks)


def _from_one_pass(partition: Partition, workspace: Workspace, mode: Mode, lease: Lease) -> Made | None:
    """The month's share of a pass over the whole table, sealed as its extract; None if there is none to take."""
    month = find_month(partition, workspace)
    if month is None:
        return None
    ledger, spec = workspace.ledger, _spec(partition, workspace)
    generation = ledger.start_generation(
        workspace.environment,
        partition,
        scn=month.scn,
        mode=mode,
        spec_hash=spec,
        run_id=workspace.run_id,
        lease=lease,
    )
    move_in(month, extract_folder(partition, workspace, generation))
    plan = ExtractPlan(
        scn=month.scn,
        mode=mode,
        spec_hash=spec,
        control_totals=month.control_totals,
        chunks=(),
        started_utc=workspace.clock(),
    )
    made = _made(_manifest(partition, workspace, generation, plan, month.files))
    ledger.seal_generation(generation, rows=made.rows, raw_bytes=made.bytes, lease=lease)
    drop_share(month)
    return made


def _manifest(
    partition: Partition, workspace: Workspace, generation: str, plan: ExtractPlan, chunks: tuple[FileEntry, ...]
) -> ExtractManifest:
    """Hold the files against Oracle's own totals, then publish them."""
    folder = extract_folder(partition, workspace, generation)
    read = measure_rows(scan_chunks(folder, chunks, partition.table), partition.table)
    check_control_totals(partition, oracle=plan.control_totals, extract=read)
    shutil.rmtree(folder / CHANGES, ignore_errors=True)
    manifest = ExtractManifest(
        table=partition.table.name,
        key=partition.key,
        generation=generation,
        source_id=workspace.environment.source_id,
        target_id=workspace.environment.target_id,
        scn=plan.scn,
        mode=plan.mode,
        spec_hash=plan.spec_hash,
        rows=read.rows,
        control_totals=plan.control_totals,
        chunks=chunks,
        started_utc=plan.started_utc,
        sealed_utc=workspace.clock(),
        base=plan.base.generation if plan.base else None,
        since=plan.base.since if plan.base else None,
        read_rows=plan.planned_rows if plan.base else read.rows,
    )
    workspace.store.publish(folder, manifest, chunks)
    return manifest
