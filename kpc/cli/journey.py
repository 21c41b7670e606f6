"""Commands that move partitions and tell where they are: demo, run, rerun, status, show."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kpc.catalog import find_table
from kpc.cli.output import Exit, emit, explaining_errors, grid, say
from kpc.errors import ConfigError, Paused, QuotaExhausted
from kpc.partition import Partition, find_partition, month_keys, partitions_of

if TYPE_CHECKING:
    from assets.campaign import CampaignPlan

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; remarks go to stderr.")]
TableName = Annotated[str, typer.Argument(metavar="TABLE", help="Oracle table name, in any case.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="A month such as 2024-01, or ALL.")]
Mode = Annotated[str, typer.Option(help="incremental sends new and changed rows only; full sends all.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.command()(demo)
    app.command()(plan)
    app.command()(one_pass)
    app.command()(run)
    app.command()(rerun)
    app.command()(status)
    app.command()(show)


def check_mode(mode: str) -> str:
    if mode not in ("incremental", "full"):
        raise ConfigError(f"There is no mode {mode!r}.", "The modes are incremental and full.")
    return mode


@explaining_errors
def demo(
    rows: Annotated[int, typer.Option(help="Records to seed over all 16 tables.")] = 250_000,
    months: Annotated[int, typer.Option(help="Months of sales, from 2024-01 on.")] = 3,
    tables: Annotated[str, typer.Option(help="Comma-separated tables; all 16 when empty.")] = "",
    with_bad_rows: Annotated[int, typer.Option(help="Rows that a staging rule must reject.")] = 0,
    exit_at_end: Annotated[bool, typer.Option("--exit", help="Do not stay up at the end.")] = False,
    as_json: AsJson = False,
    work_dir: Annotated[Path, typer.Option(help="Where the servers keep their files.")] = Path(".kpc/demo"),
) -> None:
    """Move all 16 tables from an Oracle emulator to a Salesforce emulator inside a real Airflow, and watch."""
    from kpc.demo import DemoOptions, run_demo

    options = DemoOptions(
        rows=rows,
        months=months,
        tables=tuple(name.strip().upper() for name in tables.split(",") if name.strip()),
        with_bad_rows=with_bad_rows,
        exit=exit_at_end,
        json=as_json,
        work_dir=work_dir,
    )
    raise typer.Exit(run_demo(options))


@explaining_errors
def plan(
    months: Annotated[str, typer.Option(help="FIRST:COUNT, such as 2022-01:36.")] = "",
    tables: Annotated[str, typer.Option(help="Comma-separated tables; all 16 when empty.")] = "",
    mode: Mode = "incremental",
    simulate: Annotated[bool, typer.Option("--simulate", help="How long the load would take; asks no system.")] = False,
    records: Annotated[int, typer.Option(help="With --simulate: how many records.", min=1)] = 783_000_000,
    rate: Annotated[float, typer.Option(help="With --simulate: records/s of the org.", min=1)] = 3_000.0,
    share: Annotated[float | None, typer.Option(help="With --simulate: our share of the quota.")] = None,
    reserve: Annotated[float | None, typer.Option(help="With --simulate: of it, kept for retries.")] = None,
    as_json: AsJson = False,
) -> None:
    """Count every partition at one SCN, show what belongs to none and where months interleave; book the scope."""
    if simulate:
        from kpc.cli.simulate import run_simulation

        run_simulation(records, rate, share=share, reserve=reserve, as_json=as_json)
        return
    from assets.campaign import plan_campaign
    from kpc.catalog import TABLES

    named = [find_table(name.strip()) for name in tables.split(",") if name.strip()]
    chosen = tuple(table for table in TABLES.values() if not named or table in named)
    with _workspace() as workspace:
        made = plan_campaign(workspace, chosen, _month_list(months), check_mode(mode))
    title = f"{made.partitions} partitions, {made.rows:,} rows at SCN {made.scn}"
    columns = ("table", "partitions", "rows", "unassigned", "scanned per row")
    emit(_plan_facts(made), as_json=as_json, text=grid(title, columns, _plan_cells(made)))
    for table, ratio in made.interleaved.items():
        say(
            f"The months of {table} interleave: its chunks would scan {ratio:.1f} rows per extracted row. "
            f"`kpc one-pass {table} --months {months}` reads it once for all of them; then start its months as usual."
        )
    if made.unassigned_rows:
        worst = next(one.table for one in made.assignments if one.unassigned_rows)
        say(f"Some rows belong to no partition in scope; `kpc show {worst} UNASSIGNED` lists why.")
        raise typer.Exit(Exit.EXCEPTIONS)


def _plan_cells(made: CampaignPlan) -> list[list[object]]:
    return [
        [
            one.table,
            len(one.by_key),
            sum(one.by_key.values()),
            one.unassigned_rows,
            round(max(made.scan_ratios[one.table].values(), default=1.0), 1),
        ]
        for one in made.assignments
    ]


def _plan_facts(made: CampaignPlan) -> dict[str, object]:
    return {
        "scn": made.scn,
        "months": list(made.months),
        "mode": made.mode,
        "rows": made.rows,
        "unassigned": made.unassigned_rows,
        "tables": [
            {
                "table": one.table,
                "partitions": one.by_key,
                "unassigned": one.unassigned,
                "scan_ratios": made.scan_ratios[one.table],
                "one_pass": one.table in made.interleaved,
            }
            for one in made.assignments
        ],
    }


def _month_list(months: str) -> tuple[str, ...]:
    first, _, count = months.partition(":")
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", first) or not re.fullmatch(r"[1-9]\d{0,3}", count or "1"):
        raise ConfigError(f"{months!r} is not FIRST:COUNT.", "Write for example --months 2024-01:3.")
    return month_keys(first, int(count or 1))


@explaining_errors
def one_pass(
    table: TableName,
    months: Annotated[str, typer.Option(help="FIRST:COUNT, such as 2022-01:36.")],
    as_json: AsJson = False,
) -> None:
    """Read a table whose months interleave once, split into months; each month's next extract takes its share."""
    from assets.one_pass import read_in_one_pass

    with _workspace() as workspace:
        receipt = read_in_one_pass(find_table(table), _month_list(months), workspace)
    facts = ", ".join(f"{name} {value}" for name, value in receipt.detail.items())
    text = f"{receipt.table}: {receipt.rows:,} rows in {receipt.seconds} s ({facts}). Start its months as usual."
    emit({"ok": True, "receipt": receipt.as_json()}, as_json=as_json, text=text)


@explaining_errors
def run(
    table: TableName,
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="A month such as 2024-01, or ALL.")] = None,
    months: Annotated[str, typer.Option(help="Several months: 2024-01:3 is three from January on.")] = "",
    mode: Mode = "incremental",
    stage: Annotated[str, typer.Option(help="Only this stage.")] = "",
    as_json: AsJson = False,
) -> None:
    """Take partitions through their four stages in this process, without Airflow."""
    from assets.graph import STAGES, find_stage
    from assets.lineage import materialize

    check_mode(mode)
    partitions = _named_partitions(table, key, months)
    stages = (find_stage(stage),) if stage else STAGES
    receipts: list[dict[str, object]] = []
    state = Exit.DONE
    with _workspace() as workspace:
        for partition in partitions:
            with _naming_the_command(partition):
                for receipt in materialize(partition, workspace, mode=mode, stages=stages):  # type: ignore[arg-type]
                    receipts.append(receipt.as_json())
                    if receipt.state == "reconciled_with_exceptions":
                        state = Exit.EXCEPTIONS
    columns = ("table", "key", "stage", "state", "rows", "seconds")
    cells = [[receipt[name] for name in columns] for receipt in receipts]
    emit({"ok": state is Exit.DONE, "receipts": receipts}, as_json=as_json, text=grid("", columns, cells))
    raise typer.Exit(state)


@contextmanager
def _naming_the_command(partition: Partition) -> Iterator[None]:
    """A load that must wait ends with exit code 69, the time, and the command that goes on with it."""
    try:
        yield
    except QuotaExhausted as full:
        time = f"{full.next_free_utc:%Y-%m-%d %H:%M:%S}"
        remedy = f"After {time} UTC go on with `{_resuming(partition)}`; nothing is sent twice."
        raise QuotaExhausted(full.what, remedy, next_free_utc=full.next_free_utc) from None
    except Paused as paused:
        raise Paused(paused.what, f"After `kpc resume` go on with `{_resuming(partition)}`.") from None


def _resuming(partition: Partition) -> str:
    return f"kpc run {partition.table.name} {partition.key} --stage sf_loaded"


def _named_partitions(table: str, key: str | None, months: str) -> tuple[Partition, ...]:
    if not months:
        return (find_partition(table, key),)
    if key:
        raise ConfigError("A key and --months were both given.", "Give one of them.")
    return partitions_of(find_table(table), _month_list(months))


def _workspace() -> Any:
    from ulid import ULID

    from kpc.settings import load_settings
    from kpc.workspace import open_workspace

    return open_workspace(load_settings(), run_id=f"kpc-{ULID()}", actor=getpass.getuser())


@explaining_errors
def rerun(
    table: TableName,
    key: Key,
    stage: Annotated[str, typer.Option(help="Start at this stage; the ones after it follow.")] = "oracle_extract",
    mode: Mode = "incremental",
    wait: Annotated[bool, typer.Option(help="Wait until the partition's stages have ended.")] = True,
    as_json: AsJson = False,
) -> None:
    """Run one partition again in Airflow, over its REST API. What is already in Salesforce is not sent again."""
    from assets.graph import find_stage
    from kpc.rerun import rerun_partition
    from kpc.settings import load_settings

    partition = find_partition(table, key)
    outcome = rerun_partition(
        load_settings(), partition, stage=find_stage(stage), mode=check_mode(mode), wait=wait, say=say
    )
    emit(outcome.as_json(), as_json=as_json, text=outcome.text)
    raise typer.Exit(outcome.exit_code)


@explaining_errors
def status(as_json: AsJson = False) -> None:
    """Every partition and the state of its four stages, as the ledger knows them."""
    from assets.graph import STAGES
    from kpc.catalog import TABLES

    order = list(TABLES)
    with _workspace() as workspace:
        environment = workspace.environment
        rows = workspace.ledger.stages(environment)
        pauses = workspace.ledger.pauses(environment)
        quota = workspace.ledger.quota_state(environment.target_id)
        in_flight = workspace.ledger.jobs_in_flight(environment.target_id)
    partitions: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        partitions.setdefault((row.table_name, row.partition_key), {})[row.stage] = row
    names = sorted(partitions, key=lambda name: (order.index(name[0]) if name[0] in order else len(order), name[1]))
    cells = [
        [table, key, *(_stage_cell(partitions[table, key].get(stage)) for stage in STAGES)] for table, key in names
    ]
    result = {
        "source_id": environment.source_id,
        "target_id": environment.target_id,
        "paused": pauses_as_json(pauses),
        "quota": {**asdict(quota), "jobs_in_flight": in_flight},
        "partitions": [
            {
                "table": table,
                "key": key,
                "stages": {stage: _stage_facts(row) for stage, row in partitions[table, key].items()},
            }
            for table, key in names
        ],
    }
    title = f"{environment.source_id} to {environment.target_id}"
    emit(result, as_json=as_json, text=grid(title, ("table", "key", *STAGES), cells))
    for table, key in names:
        if kept := _pre_image_rows(partitions[table, key].get("sf_loaded")):
            say(f"{table} {key}: {kept:,} records are kept as they were before; `kpc rollback` can set them back.")
    say(_quota_line(quota, in_flight))
    for pause in pauses:
        say(f"Paused: {pause}. `kpc resume` lifts it.")


def _quota_line(quota: Any, in_flight: int) -> str:
    line = (
        f"Last 24 h: {quota.rows:,} records and {quota.batches:,} batches of ours, {quota.others_batches:,} batches of "
        f"others, {quota.calls:,} API calls; {in_flight} jobs in flight."
    )
    if quota.blocked_until_utc is not None:
        line += f" No new job before {quota.blocked_until_utc:%Y-%m-%d %H:%M:%S} UTC: {quota.blocked_reason}"
    return line


def pauses_as_json(pauses: Iterable[Any]) -> list[dict[str, object]]:
    names = ("kind", "name", "actor", "reason", "paused_utc")
    return [{name: getattr(one, name) for name in names} for one in pauses]


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
    """One partition in full: its generation, stages, chunks, rejected rows, mapping version and last comparison."""
    from assets.inspection import inspect_partition, inspect_unassigned

    with _workspace() as workspace:
        if key.upper() == "UNASSIGNED":
            facts = inspect_unassigned(find_table(table), workspace)
        else:
            facts = inspect_partition(find_partition(table, key), workspace)
    emit(facts, as_json=as_json, text=_show_text(facts))


def _show_text(facts: dict[str, Any]) -> str:
    return "\n".join(_lines(facts))


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
            yield f"{indent}{name}: {f'{item:,}' if isinstance(item, int) else item}"
