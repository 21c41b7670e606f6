"""All months of a table in one pass, for a table whose months interleave; each month's next extract takes its part."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ulid import ULID

from kpc.errors import ConfigError, LeaseTaken, PassRunning, SnapshotLost
from kpc.extract.access_path import AccessPath
from kpc.extract.month_reader import OnePassPlan, make_one_pass_plan, month_files, read_months
from kpc.extract.partition_extract import (
    BYTES_PER_CELL,
    chunk_rows,
    extract_spec,
    opinion_extent,
    publish_extract,
    refuse_outside_window,
    seal,
    start_generation,
)
from kpc.extract.pass_files import (
    ONE_PASS,
    PASSES,
    OnePassManifest,
    PassList,
    find_month,
    finished_pass,
    is_taken,
    link_files,
    passes,
    remove_former_passes,
    remove_month,
    remove_pass,
)
from kpc.extract.plan import ExtractPlan
from kpc.extract.snapshot import book_month_of_pass, choose_pass_scn, giving_up
from kpc.partition import Partition, partitions_of
from kpc.private_files import make_private
from kpc.stages.context import PartitionContext, StageContext
from kpc.stages.names import ORACLE_EXTRACT
from kpc.stages.result import StageResult
from kpc.stages.stage_run import run_stage
from kpc.storage.layout import EXTRACT_PLAN
from kpc.storage.manifests import ExtractManifest, StageOutput
from kpc.storage.store import remove_leftovers

log = logging.getLogger(__name__)

_SNAPSHOTS = 3  # SCNs tried in one run, as for a single month
_LOOK_AGAIN = timedelta(seconds=20)  # whether another run's pass has ended


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


def read_in_one_pass(context: PartitionContext, months: Sequence[str], *, wait_s: float | None = None) -> StageResult:
    """Read the context's table once, split into `months`. An interrupted pass continues after its last finished chunk.

    `wait_s`: how long to wait for another run that reads the table; then `LeaseTaken`. Raises `ConfigError` for a table
    that has no months or no ROWIDs, otherwise what `oracle_extract` raises.
    """
    table = context.table
    if not table.is_monthly or not table.has_rowid:
        raise ConfigError(
            f"{table.name} cannot be read in one pass: it is not partitioned by month, or has no ROWIDs.",
            f"Run `kpc run {table.name} ALL --stage oracle_extract`.",
        )

    def read(running: StageContext) -> OnePass:
        refuse_outside_window(running)
        wanted = tuple(months)
        for _ in range(_SNAPSHOTS - 1):
            try:
                return _read(running, wanted)
            except SnapshotLost as error:
                log.warning("%s: %s", table.name, error)
                kept = _keep_complete_months(running)
                wanted = tuple(key for key in wanted if key not in kept)
                if not wanted:
                    break
        return _read(running, wanted or tuple(months))

    whole = context.of(Partition(table, ONE_PASS))
    return run_stage(whole, ORACLE_EXTRACT, read, wait_s=wait_s).result


def read_with_other_months(context: StageContext) -> ExtractManifest | None:
    """The month's part of a pass that reads all months still missing, if that is how the plan reads the table.

    Raises `PassRunning` while another run reads the table.
    """
    months = _missing_months(context)
    if context.key not in months or len(months) < 2:
        return None
    try:
        read_in_one_pass(context, months, wait_s=0)
    except LeaseTaken as taken:
        again = context.clock() + _LOOK_AGAIN
        raise PassRunning(
            f"Another run is reading {context.table.name} in one pass, {context} included. {taken.what}",
            "Airflow looks again by itself; without it, run the same command again later.",
            again_utc=again,
        ) from None
    return month_of_one_pass(context)


def _missing_months(context: StageContext) -> tuple[str, ...]:
    """The months in scope without an extract, if the plan reads the table in one pass."""
    scope = context.ledger.scope.current(context.environment)
    if scope is None or scope.access.get(context.table.name) != AccessPath.ONE_PASS:
        return ()
    current = context.ledger.generations.current
    return tuple(key for key in scope.months if current(context.environment, Partition(context.table, key)) is None)


def _read(context: StageContext, months: Sequence[str]) -> OnePass:
    folder, plan = _plan(context, partitions_of(context.table, tuple(months)))

    def between() -> None:
        context.ledger.leases.require(context.lease)  # a run that was paused must add no file to what another one reads
        refuse_outside_window(context)

    partitions = partitions_of(context.table, tuple(plan.control_totals))
    rows = sum(one.rows for one in plan.control_totals.values())
    log.info("%s: reading %d months, %s rows, in one pass", context.table.name, len(partitions), f"{rows:,}")
    context.store.check_space(rows * len(context.table.columns) * BYTES_PER_CELL)
    with giving_up(context, plan.scn):
        read_months(context.oracle, partitions, plan, folder, context.store, between)
    return _finish(context, plan, folder, tuple(plan.control_totals))


def _finish(context: StageContext, plan: OnePassPlan, folder: Path, keys: tuple[str, ...]) -> OnePass:
    """Let the months `keys` take their parts."""
    rows = sum(plan.control_totals[key].rows for key in keys)
    files = [file for key in keys for file in month_files(plan, folder, context.store, key) or ()]
    context.store.publish(folder, OnePassManifest(scn=plan.scn, rows=rows, keys=keys))
    return OnePass(folder.name, plan.scn, rows, sum(file.bytes for file in files), len(plan.chunks), len(keys))


def _keep_complete_months(context: StageContext) -> tuple[str, ...]:
    """End the unfinished pass: months whose chunks were all read keep their parts. They are returned."""
    for folder, plan in passes(context):
        if finished_pass(context, folder) is not None:
            continue
        keys = tuple(key for key in plan.control_totals if month_files(plan, folder, context.store, key) is not None)
        if keys:
            log.warning("%s: %d months were read completely at SCN %d and are kept", context, len(keys), plan.scn)
            _finish(context, plan, folder, keys)
            return keys
        remove_pass(context, folder, plan)
    return ()


def _plan(context: PartitionContext, partitions: Sequence[Partition]) -> tuple[Path, OnePassPlan]:
    """The folder and plan of an interrupted pass over these months, and perhaps others; otherwise new ones."""
    wanted, store = extract_spec(context), context.store
    keys = {partition.key for partition in partitions}
    kept: list[str] = []
    remove_former_passes(context)
    for folder, plan in passes(context):
        if finished_pass(context, folder) is not None:
            if is_taken(context, plan):
                remove_pass(context, folder, plan)
            else:
                kept.append(folder.name)
        elif plan.spec_hash == wanted and keys <= set(plan.control_totals):
            log.info("%s: continuing the pass at SCN %d", context.table.name, plan.scn)
            remove_leftovers(folder)
            return folder, plan
        else:
            remove_pass(context, folder, plan)
    plan = _make_plan(context, partitions, wanted)
    folder = make_private(context.paths.folder / str(ULID.from_datetime(context.clock())))
    store.publish(folder, plan, name=EXTRACT_PLAN)
    store.publish(context.paths.folder, PassList(names=(*kept, folder.name)), name=PASSES)
    return folder, plan


def _make_plan(context: PartitionContext, partitions: Sequence[Partition], wanted: str) -> OnePassPlan:
    scn = choose_pass_scn(context, partitions)
    with giving_up(context, scn):
        return make_one_pass_plan(
            context.oracle,
            partitions,
            scn=scn,
            spec_hash=wanted,
            chunk_rows=chunk_rows(context),
            started_utc=context.clock(),
            extent=opinion_extent(context),
        )


def month_of_one_pass(context: StageContext) -> ExtractManifest | None:
    """The month's part of a pass over the whole table, sealed as its extract; None if there is none."""
    month = find_month(context)
    if month is None:
        return None
    book_month_of_pass(context, context.of(Partition(context.table, ONE_PASS)), month.plan.scn)
    generation = start_generation(context, month.plan.scn)
    link_files(month, context.paths.generation(generation).extract)
    plan = ExtractPlan(
        scn=month.plan.scn,
        mode=context.mode,
        spec_hash=extract_spec(context),
        control_totals=month.plan.control_totals[context.key],
        chunks=(),
        started_utc=context.clock(),
        extent=month.plan.extent,
    )
    manifest = seal(context, publish_extract(context, generation, plan, month.files))
    remove_month(context, month)
    return manifest
