"""One generation of a partition from its SCN to its seal; an interrupted one resumes after its last finished chunk."""

from __future__ import annotations

import logging
import shutil
from datetime import datetime

from kpc.errors import DataUnreadable, SnapshotLost
from kpc.extract.chunk_reader import read_chunks
from kpc.extract.control_totals import check_control_totals, measure_extract
from kpc.extract.incremental_extract import find_base, merged_chunks
from kpc.extract.plan import Base, ExtractPlan, make_plan, spec_hash
from kpc.extract.snapshot import choose_scn, give_up_own, taken_utc
from kpc.extract.window import refuse_outside
from kpc.reconcile.second_opinion.coverage import Extent, asked_buckets
from kpc.stages.context import PartitionContext, StageContext
from kpc.stages.relatives import relatives_of
from kpc.storage.layout import EXTRACT_PLAN, INCREMENTAL_READ
from kpc.storage.manifests import ExtractManifest
from kpc.storage.store import FileEntry, read_manifest, remove_leftovers, write_manifest

log = logging.getLogger(__name__)

_SNAPSHOTS = 3  # generations tried in one run; after that someone must check the undo retention
BYTES_PER_CELL = 16  # compressed, a generous estimate for the free-space check only


def refuse_outside_window(context: PartitionContext) -> None:
    """Raises `OutsideWindow` outside the hours in which Oracle may be read."""
    refuse_outside(context.settings.oracle.window, context.clock())


def recent_extract(context: StageContext) -> ExtractManifest | None:
    """The sealed extract of another run that began after this run was requested: it is recent enough for this run."""
    current = context.ledger.generations.current(context.environment, context.partition)
    if current is None or context.asked_utc is None or current.run_id == context.run_id:
        return None
    is_alike = (current.spec_hash, current.mode) == (extract_spec(context), context.mode)
    is_alike = is_alike and not context.workspace.is_of_former_incarnation(current.started_utc)
    if taken_utc(context, current) < context.asked_utc or not is_alike:
        return None
    manifest = context.store.manifest(context.paths.generation(current.id).extract, ExtractManifest)
    if manifest is not None:
        log.info("%s: generation %s was started after this run was requested; it is used", context, current.id)
    return manifest


def extract_partition(context: StageContext, *, same_scn: bool = False) -> ExtractManifest:
    """Seal a new generation of the partition; one whose SCN can no longer be read is abandoned and another is started.

    Its SCN is that of its parents and children where `choose_scn` allows it; with `same_scn` also when the partition
    was read before. Raises `SnapshotLost` after `_SNAPSHOTS` generations, `OutsideWindow` also between two chunks.
    """
    since = None if same_scn else context.asked_utc or context.clock()
    for _ in range(_SNAPSHOTS - 1):
        try:
            return _extract_generation(context, since)
        except SnapshotLost as error:
            log.warning("%s: %s", context, error)
    return _extract_generation(context, since)


def _extract_generation(context: StageContext, since: datetime | None) -> ExtractManifest:
    """One generation from its SCN to its seal; it is abandoned where its data cannot be read.

    Raises `SnapshotLost`, `DataUnreadable`.
    """
    generation, scn = _open_generation(context, since)
    try:
        plan = _plan(context, generation, scn)
        manifest = _read(context, generation, plan)
    except (SnapshotLost, DataUnreadable) as error:
        context.ledger.generations.abandon(generation, str(error), lease=context.lease)
        give_up_own(context, scn)
        raise
    return seal(context, manifest)


def seal(context: StageContext, manifest: ExtractManifest) -> ExtractManifest:
    """Make a published extract the partition's current generation."""
    output = manifest.output()
    context.ledger.generations.seal(manifest.generation, rows=output.rows, raw_bytes=output.bytes, lease=context.lease)
    return manifest


def _open_generation(context: StageContext, since: datetime | None) -> tuple[str, int]:
    """The generation that an interrupted run left open, or a new one at the SCN that `choose_scn` chooses."""
    wanted = extract_spec(context)
    unfinished = context.ledger.generations.unfinished(context.environment, context.partition)
    if unfinished is not None:
        if (unfinished.spec_hash, unfinished.mode) == (wanted, context.mode):
            log.info("%s: continuing generation %s at SCN %d", context, unfinished.id, unfinished.scn)
            return unfinished.id, unfinished.scn
        reason = "the next run requested another mode or declaration"
        context.ledger.generations.abandon(unfinished.id, reason, lease=context.lease)
    scn = choose_scn(context, since)
    return start_generation(context, scn), scn


def start_generation(context: StageContext, scn: int) -> str:
    """Begin a new extract at an SCN and return its ULID."""
    return context.ledger.generations.start(
        context.environment,
        context.partition,
        scn=scn,
        mode=context.mode,
        spec_hash=extract_spec(context),
        run_id=context.run_id,
        lease=context.lease,
    )


def extract_spec(context: PartitionContext) -> str:
    """Hash of everything that determines the bytes of an extract at a given SCN."""
    return spec_hash(context.oracle.owner, context.partition, chunk_rows(context), opinion_extent(context))


def opinion_extent(context: PartitionContext) -> Extent:
    """Of which rows the extract has Oracle's opinion."""
    return context.settings.reconcile.second_opinion


def chunk_rows(context: PartitionContext) -> int:
    """Rows per chunk: the table's declared number, capped by the settings."""
    return min(context.table.chunk_rows, context.settings.staging.chunk_rows)


def _plan(context: StageContext, generation: str, scn: int) -> ExtractPlan:
    """The generation's saved plan; it is made and saved now if there is none."""
    plan = read_manifest(context.paths.generation(generation).extract, ExtractPlan, EXTRACT_PLAN)
    if plan is not None:
        return plan
    base = find_base(context, extract_spec(context)) if context.mode == "incremental" else None
    return _make_plan(context, generation, scn, base)


def _make_plan(context: StageContext, generation: str, scn: int, base: Base | None) -> ExtractPlan:
    plan = context.oracle.repeated(
        lambda: make_plan(
            context.oracle,
            context.partition,
            scn=scn,
            mode=context.mode,
            chunk_rows=chunk_rows(context),
            started_utc=context.clock(),
            base=base,
            extent=opinion_extent(context),
        )
    )
    write_manifest(context.paths.generation(generation).extract, plan, EXTRACT_PLAN)
    return plan


def _read(context: StageContext, generation: str, plan: ExtractPlan) -> ExtractManifest:
    folder = context.paths.generation(generation).extract
    remove_leftovers(folder)
    context.store.check_space(plan.control_totals.rows * len(context.table.columns) * BYTES_PER_CELL)

    def between() -> None:
        context.ledger.leases.require(context.lease)  # a run that was paused must add no file to what another one reads
        refuse_outside_window(context)

    chunks = merged_chunks(context, plan, folder, between)
    if chunks is None:
        if plan.base is not None:
            plan = _make_plan(context, generation, plan.scn, base=None)
        chunks = read_chunks(context.oracle, context.partition, plan, folder, between)
    return publish_extract(context, generation, plan, chunks)


def publish_extract(
    context: PartitionContext, generation: str, plan: ExtractPlan, chunks: tuple[FileEntry, ...]
) -> ExtractManifest:
    """Compare the files with Oracle's own control totals, then write the manifest. Raises `Terminal` if they differ."""
    folder = context.paths.generation(generation).extract
    read = measure_extract(folder, chunks, context.table)
    check_control_totals(context.partition, oracle=plan.control_totals, extract=read)
    shutil.rmtree(folder / INCREMENTAL_READ, ignore_errors=True)
    manifest = ExtractManifest(
        table=context.table.name,
        key=context.key,
        generation=generation,
        source_id=context.environment.source_id,
        target_id=context.environment.target_id,
        scn=plan.scn,
        mode=plan.mode,
        spec_hash=plan.spec_hash,
        rows=read.rows,
        control_totals=plan.control_totals,
        chunks=chunks,
        started_utc=plan.started_utc,
        sealed_utc=context.clock(),
        base=plan.base.generation if plan.base else None,
        since=plan.base.since if plan.base else None,
        read_rows=plan.planned_rows if plan.base else read.rows,
        relatives=relatives_of(context, plan.scn),
        opinion_buckets=asked_buckets(context.partition, plan.extent),
    )
    for one in manifest.relatives:
        log.warning("%s was read at SCN %d, its %s", context, plan.scn, one.compared_with(plan.scn))
    context.store.publish(folder, manifest, chunks)
    return manifest
