"""Partitions that should progress and do not: a stage without a sign of progress, or a next stage that never began."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from kpc.campaign.alerts.sightings import Sightings, partitions
from kpc.catalog import TABLES
from kpc.errors import Paused
from kpc.ledger import AlertCondition, StageRun
from kpc.ledger.states import AlertKind, StageState
from kpc.partition import Partition
from kpc.stages.names import SF_LOADED, STAGES
from kpc.storage.layout import PartitionPaths
from kpc.storage.object_store import is_url


def stalls(seen: Sightings, *, is_waiting_for_quota: bool) -> Iterator[AlertCondition]:
    """One condition for each stage; what is paused or waits for quota is not expected to progress."""
    groups: dict[str, list[tuple[StageRun, datetime]]] = defaultdict(list)
    longest = timedelta(seconds=seen.workspace.settings.alerts.stalled_s)
    for stage, run, moved in _quiet(seen, seen.now - longest):
        waits = is_waiting_for_quota and stage == SF_LOADED
        if not waits and not _is_paused(run, seen):
            groups[stage].append((run, moved))
    for stage, found in groups.items():
        run, _ = found[0]
        table, key = run.table_name, run.partition_key
        yield seen.condition(
            AlertKind.STALLED,
            stage,
            f"{partitions(len(found))} made no progress at {stage} for {_spelled(longest)}.",
            f"Check the run in Airflow (is the DAG paused, a pool full, a worker gone?), then "
            f"`kpc rerun {table} {key} --stage {stage}`.",
            since_utc=min(moved for _, moved in found),
            places=[(run.table_name, run.partition_key) for run, _ in found],
            page=seen.stage_page(table, stage),
        )


def _quiet(seen: Sightings, before: datetime) -> Iterator[tuple[str, StageRun, datetime]]:
    """Stages without progress since `before`, with their own or the previous stage's run, and the last progress."""
    for run in seen.runs:
        if run.state is StageState.RUNNING and run.started_utc < before:
            partition = Partition(TABLES[run.table_name], run.partition_key)
            moved = max(run.started_utc, _last_progress(seen, partition))
            if moved < before:
                yield run.stage, run, moved
    for (table, key, stage), run in seen.newest.items():
        following = dict(pairwise(STAGES)).get(stage)
        if following is None or run.state is not StageState.DONE or run.finished_utc is None:
            continue
        later = seen.newest.get((table, key, following))
        if run.finished_utc < before and (later is None or later.started_utc < run.started_utc):
            yield following, run, run.finished_utc


def _last_progress(seen: Sightings, partition: Partition) -> datetime:
    """The time by the ledger, or of the partition's newest file if this machine sees its folder."""
    environment, root = seen.environment, seen.workspace.settings.staging.root
    moments = [seen.workspace.ledger.progress.last(environment, partition)]
    if not is_url(root):
        table, key = partition.table.slug, partition.key
        folder = PartitionPaths.below(Path(root), environment.source_id, environment.target_id, table, key).folder
        moments += [_changed(file) for file in folder.rglob("*")]
    return max((moment for moment in moments if moment), default=datetime.min.replace(tzinfo=UTC))


def _changed(file: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except OSError:  # renamed meanwhile
        return None


def _is_paused(run: StageRun, seen: Sightings) -> bool:
    try:
        seen.workspace.ledger.pauses.check(seen.environment, TABLES[run.table_name])
    except Paused:
        return True
    return False


def _spelled(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:g} h"
