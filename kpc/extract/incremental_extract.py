"""Incremental extract: only the rows changed since the last load come from Oracle, the others from an older extract.

The result is a whole partition and must equal Oracle's control totals at the new SCN. If it does not (rows changed
without touching the update column, keys that appeared with an old date), the whole partition is read.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from kpc.catalog.types import OracleKind
from kpc.errors import DamagedFile
from kpc.extract.chunk_reader import Between, read_chunks, read_keys
from kpc.extract.control_totals import control_total_differences, measure_extract
from kpc.extract.merge_changes import merge_changes
from kpc.extract.plan import Base, ExtractPlan
from kpc.extract.snapshot import taken_utc
from kpc.ledger import GenerationRow
from kpc.local_time import naive_local
from kpc.reconcile.second_opinion.coverage import has_opinions
from kpc.stages.context import PartitionContext
from kpc.storage.layout import INCREMENTAL_READ
from kpc.storage.manifests import ExtractManifest
from kpc.storage.parquet_file import read_slices
from kpc.storage.store import FileEntry

log = logging.getLogger(__name__)

_SLICE_ROWS = 500_000  # of the change columns, read at a time
_REMEDY = "Extract the partition again: `kpc run TABLE KEY --mode full`."


def find_base(context: PartitionContext, wanted_spec: str) -> Base | None:
    """The last completely loaded generation and its watermark; None: read the whole partition.

    The watermark is the newest change that generation holds, so it advances only with a complete load. A change dated
    in the future cannot move it past the time at which that generation was read.
    """
    if not context.table.change_columns or context.settings.oracle.reads == "whole":
        return None
    loaded = context.ledger.stages.loaded_generation(context.environment, context.partition)
    if loaded is None or loaded.spec_hash != wanted_spec:
        return None
    if context.workspace.is_of_former_incarnation(loaded.started_utc):
        return None  # it may hold changes that the new incarnation never saw
    try:
        newest = newest_change(context, loaded.id)
    except DamagedFile as error:
        log.warning("%s: reading the whole partition: %s", context, error.what)
        return None
    if newest is None:
        return None
    overlap = timedelta(seconds=context.settings.oracle.overlap_s)
    return Base(generation=loaded.id, since=min(newest, read_at(context, loaded)) - overlap)


def _base_files(context: PartitionContext, generation: str) -> list[Path]:
    """The verified files of an older extract; empty if it no longer exists. Raises `DamagedFile`."""
    folder = context.paths.generation(generation).extract
    manifest = context.store.manifest(folder, ExtractManifest)
    chunks = manifest.chunks if manifest else ()
    return [context.store.file(folder, chunk, remedy="") for chunk in chunks]


def newest_change(context: PartitionContext, generation: str) -> datetime | None:
    """The newest change of a row in an older extract; None if it holds none. Raises `DamagedFile`."""
    files = _base_files(context, generation)
    changed = pl.coalesce(column.name for column in context.table.change_columns)
    columns = [column.name for column in context.table.change_columns]
    slices = (rows for file in files for rows in read_slices(file, columns, _SLICE_ROWS, remedy=_REMEDY))
    found = (rows.select(changed.max()).item() for rows in slices)
    return max((newest for newest in found if newest is not None), default=None)


def read_at(context: PartitionContext, generation: GenerationRow) -> datetime:
    """When the generation's SCN was taken, in the time zone of the change columns."""
    is_utc = context.table.change_columns[0].source.kind is OracleKind.TIMESTAMP_TZ
    taken = taken_utc(context, generation)
    return taken.astimezone(UTC).replace(tzinfo=None) if is_utc else naive_local(taken)


def merged_chunks(
    context: PartitionContext, plan: ExtractPlan, folder: Path, between: Between
) -> tuple[FileEntry, ...] | None:
    """The whole partition at the plan's SCN, mostly from the base; None if it differs from Oracle's control totals."""
    if plan.base is None:
        return None
    try:
        base = _base_files(context, plan.base.generation)
    except DamagedFile as error:
        log.warning("%s: reading the whole partition: %s", context, error.what)
        return None
    if not base:
        return None
    oracle, changes = context.oracle, folder / INCREMENTAL_READ
    changed = read_chunks(oracle, context.partition, plan, changes, between)
    keys = read_keys(oracle, context.partition, plan, changes)
    merged = merge_changes(
        context.table,
        folder,
        base=base,
        changed=[changes / chunk.name for chunk in changed],
        keys=changes / keys.name,
        rows=plan.control_totals.rows,
        has_opinions=has_opinions(context.table, plan.extent),
    )
    found = measure_extract(folder, merged.chunks, context.table)
    if differences := control_total_differences(oracle=plan.control_totals, extract=found):
        log.warning(
            "%s: reading the whole partition, because rows changed without touching %s (%s)",
            context,
            context.table.update_column,
            "; ".join(differences),
        )
        return None
    log.info(
        "%s: %s of %s rows changed since %s, %s keys vanished; other rows come from generation %s",
        context,
        f"{merged.changed:,}",
        f"{merged.rows:,}",
        plan.base.since,
        f"{merged.vanished:,}",
        plan.base.generation,
    )
    return merged.chunks
