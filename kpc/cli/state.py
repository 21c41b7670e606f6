"""Commands that show the state of partitions: status, show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from kpc.catalog import find_table
from kpc.cli.arguments import AsJson, Key, TableName, user_workspace
from kpc.cli.output import emit, explaining_errors, grid, say
from kpc.partition import Partition, find_partition

_MOST_LISTED = 10


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.command()(status)
    app.command()(show)


@explaining_errors
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Keep it up to date until everything has ended.")] = False,
    interval: Annotated[float, typer.Option(min=0.5, help="With --watch: seconds between updates.")] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Show every partition with the state of its four stages, quota and pauses.

    With --watch it shows a summary by table, redrawn in place, or without a terminal a line for each change. Exit
    codes: 0; 1 if something failed, differs or stopped; 3 with exceptions. --json then prints one object per update.
    """
    if watch:
        from kpc.cli.watch import watch_campaign

        raise typer.Exit(watch_campaign(interval, as_json=as_json))
    _show_status(as_json=as_json)


def _show_status(*, as_json: bool) -> None:
    from kpc.campaign.completeness import source_changes
    from kpc.campaign.estimate import estimate_finish
    from kpc.campaign.stopped import stopped_partitions
    from kpc.catalog import TABLES
    from kpc.stages.names import STAGES
    from kpc.stages.relatives import parents_at_other_scns

    order = list(TABLES)
    with user_workspace() as workspace:
        environment = workspace.environment
        rows = workspace.ledger.stages.newest(environment)
        pauses = workspace.ledger.pauses.active(environment)
        quota = workspace.ledger.quota.state(environment.target_id)
        queries = workspace.ledger.query_jobs.used(environment.target_id)
        in_flight = workspace.ledger.jobs.in_flight(environment.target_id)
        moved = source_changes(workspace)
        split = list(parents_at_other_scns(workspace.ledger.generations.all_current(environment)))
        estimate = estimate_finish(workspace.ledger, environment, workspace.settings.salesforce)
        stopped = stopped_partitions(workspace.ledger, environment)
        now = workspace.clock()
    partitions: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        partitions.setdefault((row.table_name, row.partition_key), {})[row.stage] = row
    names = sorted(partitions, key=lambda name: (order.index(name[0]) if name[0] in order else len(order), name[1]))
    cells = [[*name, *_stage_cells(partitions[name], STAGES)] for name in names]
    result = {
        "source_id": environment.source_id,
        "target_id": environment.target_id,
        "paused": pauses_as_json(pauses),
        "quota": {**asdict(quota), "jobs_in_flight": in_flight, "query_jobs": queries[0], "query_bytes": queries[1]},
        "estimate": estimate.as_json() if estimate else None,
        "partitions": [_partition_facts(*name, partitions[name]) for name in names],
        "moved": [{"table": one.table.name, "key": one.key, "scn": moved[one].final_scn} for one in moved],
        "other_scns": [_split_facts(*each) for each in split],
        "stopped": [_gap_facts(gap) for gap in stopped],
    }
    title = f"{environment.source_id} to {environment.target_id}"
    emit(result, as_json=as_json, text=grid(title, ("table", "key", *STAGES), cells))
    for table, key in names:
        if kept := _pre_image_rows(partitions[table, key].get("sf_loaded")):
            say(f"{table} {key}: {kept:,} records have a pre-image; `kpc rollback` can set them back.")
    say(_quota_line(quota, in_flight, now))
    say(f"Last 24 h: {queries[0]:,} query jobs of this migration, with {queries[1] / 1e9:,.2f} GB of results.")
    if estimate is not None:
        say(estimate.summary)
    paused = (f"Paused: {pause}. `kpc resume` ends the pause." for pause in pauses)
    for line in (*paused, *_moved_lines(moved), *_split_lines(split), *_stopped_lines(stopped)):
        say(line)


def _gap_facts(gap: Any) -> dict[str, object]:
    after, table = gap.done.stage, gap.partition.table.name
    return {"table": table, "key": gap.partition.key, "after": after, "next": gap.following}


def _stopped_lines(stopped: Sequence[Any]) -> Iterator[str]:
    """Partitions between two stages; only Airflow knows whether the next run is waiting or missing."""
    for gap in stopped[:_MOST_LISTED]:
        yield f"{gap.partition} is done up to {gap.done.stage}; {gap.following} has not started."
    if len(stopped) > _MOST_LISTED:
        yield f"{len(stopped) - _MOST_LISTED:,} more stopped between two stages; `kpc status --json` has all."
    if stopped:
        yield "`kpc missed` asks Airflow which of these wait and which were lost; `kpc missed --start` starts those."


def _partition_facts(table: str, key: str, stages: Mapping[str, Any]) -> dict[str, object]:
    return {
        "table": table,
        "key": key,
        "rolled_back_utc": _rolled_back_utc(stages),
        "stages": {stage: _stage_facts(row) for stage, row in stages.items()},
    }


def _moved_lines(moved: Mapping[Partition, Any]) -> Iterator[str]:
    """Partitions that changed in Oracle after they were extracted, as `kpc delta` found."""
    for partition, check in list(moved.items())[:_MOST_LISTED]:
        yield f"{partition}: it had changed in Oracle by SCN {check.final_scn}; `kpc delta --keys` lists the rows."
    if len(moved) > _MOST_LISTED:
        yield f"{len(moved) - _MOST_LISTED:,} more partitions changed; `kpc status --json` has all."


def _split_facts(extract: Any, parent: Any) -> dict[str, object]:
    facts = {"table": extract.table_name, "key": extract.partition_key, "scn": extract.scn}
    return {**facts, "parent": parent.table, "parent_scn": parent.scn}


def _split_lines(split: Sequence[tuple[Any, Any]]) -> Iterator[str]:
    """Children that were read at a different SCN from their parents."""
    for extract, parent in split[:_MOST_LISTED]:
        table, key = extract.table_name, extract.partition_key
        older = table if extract.scn < parent.scn else parent.table
        yield (
            f"{table} {key} was read at SCN {extract.scn}, its {parent.compared_with(extract.scn)}: rows written in "
            f"between are in only one of them. `kpc run {older} {key} --same-scn` reads the older one at the "
            f"newer SCN (in Airflow `kpc rerun {older} {key} --same-scn`)."
        )
    if len(split) > _MOST_LISTED:
        yield f"{len(split) - _MOST_LISTED:,} more partitions differ from their parents; `kpc status --json` has all."


def _quota_line(quota: Any, in_flight: int, now: datetime) -> str:
    line = (
        f"Last 24 h: {quota.rows:,} records and {quota.batches:,} batches of this migration; {in_flight} jobs in "
        f"flight. {_others_line(quota, now)}"
    )
    if quota.blocked_until_utc is not None:
        line += f" No new job before {quota.blocked_until_utc:%Y-%m-%d %H:%M:%S} UTC: {quota.blocked_reason}"
    return line


def _others_line(quota: Any, now: datetime) -> str:
    """The quota used by all software, which only the org knows: as of the last time that a load asked it."""
    if quota.read_utc is None or not quota.calls_max:
        return "Other software's batches and API calls are not known yet; the next load asks the org."
    minutes = int((now - quota.read_utc).total_seconds() // 60)
    return (
        f"As the org said at {quota.read_utc:%Y-%m-%d %H:%M:%S} UTC ({minutes:,} min ago): {quota.others_batches:,} "
        f"batches of other software, {quota.calls:,} of {quota.calls_max:,} API calls of all software."
    )


def pauses_as_json(pauses: Iterable[Any]) -> list[dict[str, object]]:
    names = ("kind", "name", "actor", "reason", "paused_utc")
    return [{name: getattr(one, name) for name in names} for one in pauses]


def _rolled_back_utc(stages: Mapping[str, Any]) -> Any:
    """When the partition was rolled back; None if it was loaded again since, or never rolled back."""
    from kpc.ledger.states import StageState
    from kpc.stages.names import SF_LOADED

    load = stages.get(SF_LOADED)
    return load.finished_utc if load is not None and load.state == StageState.ROLLED_BACK else None


def _stage_cells(stages: Mapping[str, Any], names: Iterable[str]) -> Iterator[str]:
    """Stages that ended before a rollback are shown as rolled back."""
    since = _rolled_back_utc(stages)
    for row in map(stages.get, names):
        is_void = row is not None and since is not None and (row.finished_utc or row.started_utc) <= since
        yield "rolled back" if is_void else _stage_cell(row)


def _stage_cell(row: Any) -> str:
    if row is None:
        return ""
    return f"{row.state} {row.rows:,}" if row.rows is not None else row.state


def _pre_image_rows(row: Any) -> int:
    return int((row.detail or {}).get("pre_image", 0)) if row is not None else 0


def _stage_facts(row: Any) -> dict[str, object]:
    return {
        "state": row.state,
        "rows": row.rows,
        "bytes": row.bytes,
        "generation": row.generation,
        "run_id": row.run_id,
        "started_utc": row.started_utc,
        "finished_utc": row.finished_utc,
        "error": row.error,
        "detail": row.detail,
    }


@explaining_errors
def show(table: TableName, key: Key, as_json: AsJson = False) -> None:
    """Show one partition: generation, stages, chunks, rejected rows, mapping version, last comparison."""
    from kpc.campaign.inspection import inspect_partition, inspect_unassigned
    from kpc.stages.context import PartitionContext

    with user_workspace() as workspace:
        if key.upper() == "UNASSIGNED":
            facts = inspect_unassigned(find_table(table), workspace)
        else:
            facts = inspect_partition(PartitionContext(workspace, find_partition(table, key)))
    emit(facts, as_json=as_json, text=_show_text(facts))


def _show_text(facts: dict[str, Any]) -> str:
    return "\n".join(_lines(facts))


def _shown(item: object) -> str:
    return f"{item:,}" if isinstance(item, int) and not isinstance(item, bool) else str(item)


def _lines(value: dict[str, Any], indent: str = "") -> Iterable[str]:
    for name, item in value.items():
        if isinstance(item, dict):
            yield f"{indent}{name}:"
            yield from _lines(item, indent + "  ")
        elif isinstance(item, list):
            yield f"{indent}{name}:" + ("" if item else " none")
            for entry in item:
                yield f"{indent}  " + (
                    "  ".join(f"{k}={v}" for k, v in entry.items()) if isinstance(entry, dict) else str(entry)
                )
        else:
            yield f"{indent}{name}: {_shown(item)}"
