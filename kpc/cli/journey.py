"""Commands that plan and move partitions: demo, plan, one-pass, run, rerun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kpc.catalog import find_table
from kpc.cli.arguments import AsJson, Key, Mode, OnlyKeys, SameScn, TableName, user_workspace
from kpc.cli.extras import require_extra
from kpc.cli.keys_file import mark_keys
from kpc.cli.output import Exit, emit, explaining_errors, grid, say
from kpc.errors import (
    ConfigError,
    OutcomeUnknown,
    Paused,
    QuotaExhausted,
    RateLimited,
    SalesforceDown,
    UnusableAnswer,
)
from kpc.file_errors import naming
from kpc.partition import Partition, find_partition, parse_months, partitions_of, refuse_future_month

if TYPE_CHECKING:
    from kpc.campaign.plan import CampaignPlan
    from kpc.catalog import Table
    from kpc.extract.access_path import Access


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.command()(demo)
    app.command()(plan)
    app.command()(one_pass)
    app.command()(run)
    app.command()(rerun)


def check_mode(mode: str) -> str:
    if mode not in ("incremental", "full"):
        raise ConfigError(f"There is no mode {mode!r}.", "The modes are incremental and full.")
    return mode


@explaining_errors
def demo(
    rows: Annotated[int, typer.Option(help="Records to seed, spread over all 16 tables.")] = 250_000,
    months: Annotated[int, typer.Option(min=1, max=120, help="Months of sales, starting with 2024-01.")] = 3,
    tables: Annotated[str, typer.Option(help="Comma-separated tables; all 16 when empty.")] = "",
    with_bad_rows: Annotated[int, typer.Option(help="Rows that a staging rule must reject.")] = 0,
    exit_at_end: Annotated[bool, typer.Option("--exit", help="Stop all servers when the campaign ends.")] = False,
    as_json: AsJson = False,
    work_dir: Annotated[Path, typer.Option(help="Folder of the servers' files.")] = Path(".kpc/demo"),
    executor: Annotated[
        Literal["local", "celery"],
        typer.Option(help="What runs Airflow's tasks: its scheduler, or two Celery workers over Redis."),
    ] = "local",
) -> None:
    """Move all 16 tables from an Oracle emulator to a Salesforce emulator in a real Airflow, with progress."""
    require_extra("demo", "kpc demo")
    from kpc.demo import DemoOptions, TaskExecutor, run_demo

    options = DemoOptions(
        rows=rows,
        months=months,
        tables=tuple(name.strip().upper() for name in tables.split(",") if name.strip()),
        with_bad_rows=with_bad_rows,
        exit=exit_at_end,
        json=as_json,
        work_dir=work_dir,
        executor=TaskExecutor(executor),
    )
    with naming("--work-dir", work_dir):
        code = run_demo(options)
    raise typer.Exit(code)


@explaining_errors
def plan(
    months: Annotated[str, typer.Option(help="FIRST:COUNT, such as 2022-01:36.")] = "",
    tables: Annotated[str, typer.Option(help="Comma-separated tables; all 16 when empty.")] = "",
    mode: Mode = "incremental",
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Estimate the load's duration; contacts no system.")
    ] = False,
    records: Annotated[int, typer.Option(help="With --simulate: number of records.", min=1)] = 783_000_000,
    rate: Annotated[float, typer.Option(help="With --simulate: records/s of the org.", min=1)] = 3_000.0,
    share: Annotated[float | None, typer.Option(help="With --simulate: the migration's share of the quota.")] = None,
    reserve: Annotated[float | None, typer.Option(help="With --simulate: part of that share kept for retries.")] = None,
    as_json: AsJson = False,
) -> None:
    """Record the campaign's scope: count every partition at one SCN, show unassigned rows and interleaved months."""
    if simulate:
        from kpc.cli.simulate import run_simulation

        run_simulation(records, rate, share=share, reserve=reserve, as_json=as_json)
        return
    from kpc.campaign.plan import plan_campaign
    from kpc.catalog import TABLES

    named = [find_table(name.strip()) for name in tables.split(",") if name.strip()]
    chosen = tuple(table for table in TABLES.values() if not named or table in named)
    with user_workspace() as workspace:
        made = plan_campaign(workspace, chosen, _planned_months(chosen, months), check_mode(mode))
    title = f"{made.partitions} partitions, {made.rows:,} rows at SCN {made.scn}"
    columns = ("table", "partitions", "rows", "unassigned", "read by", "scans", "minutes", "TEMP")
    emit(_plan_facts(made), as_json=as_json, text=grid(title, columns, _plan_cells(made)))
    for table, way in made.access.items():
        if way.path.value == "one pass":
            say(f"{table} is read once for all its months, by the first month that is started; the others wait for it.")
    back = made.read_back_total
    say(
        f"Reconciling it in full takes about {back.jobs:,} query jobs, {back.raw_bytes / 1e9:,.1f} GB of results and "
        f"{back.hours:,.1f} hours; Salesforce allows 10,000 jobs and 1,000 GB in 24 h."
    )
    if made.unassigned_rows:
        worst = next(one.table for one in made.assignments if one.unassigned_rows)
        say(f"Some rows belong to no partition in scope; `kpc show {worst} UNASSIGNED` lists the reasons.")
        raise typer.Exit(Exit.EXCEPTIONS)


def _planned_months(tables: tuple[Table, ...], months: str) -> tuple[str, ...]:
    """The months of the plan, which may be missing only if no table is split by month."""
    if months:
        return _begun_months(months)
    if monthly := [table.name for table in tables if table.is_monthly]:
        raise ConfigError(
            f"--months is missing: {', '.join(monthly)} {'is' if len(monthly) == 1 else 'are'} split by month.",
            "Give the first month and how many: `kpc plan --months FIRST:COUNT`, such as --months 2024-01:3.",
        )
    return ()


def _plan_cells(made: CampaignPlan) -> list[list[object]]:
    return [
        [
            one.table,
            len(one.by_key),
            sum(one.by_key.values()),
            one.unassigned_rows,
            *_access_cells(made.access[one.table]),
        ]
        for one in made.assignments
    ]


def _access_cells(way: Access) -> list[object]:
    """The access path, and its estimated table scans, minutes and TEMP."""
    temp = f"{way.temp_bytes / 1e9:.1f} GB" if way.temp_bytes else "none"
    return [way.path.value, f"{way.scans:.1f}", f"{way.seconds / 60:.1f}", temp]


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
                "access": made.access[one.table].path.value,
                "scans": round(made.access[one.table].scans, 2),
                "seconds": round(made.access[one.table].seconds, 1),
                "temp_bytes": made.access[one.table].temp_bytes,
                "query_jobs": made.read_back[one.table].jobs,
                "query_bytes": made.read_back[one.table].raw_bytes,
                "query_hours": round(made.read_back[one.table].hours, 2),
            }
            for one in made.assignments
        ],
    }


@explaining_errors
def one_pass(
    table: TableName,
    months: Annotated[str, typer.Option(help="FIRST:COUNT, such as 2022-01:36.")],
    as_json: AsJson = False,
) -> None:
    """Read a table with interleaved months once and split it by month, for the next extract of each month."""
    from kpc.extract.one_pass import read_in_one_pass
    from kpc.extract.pass_files import ONE_PASS
    from kpc.partition import Partition
    from kpc.stages.context import PartitionContext

    with user_workspace() as workspace:
        context = PartitionContext(workspace, Partition(find_table(table), ONE_PASS))
        result = read_in_one_pass(context, _begun_months(months))
    facts = ", ".join(f"{name} {value}" for name, value in result.detail.items())
    text = f"{result.table}: {result.rows:,} rows in {result.seconds} s ({facts}). Start its months as usual."
    emit({"ok": True, "receipt": result.as_json()}, as_json=as_json, text=text)


@explaining_errors
def run(
    table: TableName,
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="A month such as 2024-01, or ALL.")] = None,
    months: Annotated[str, typer.Option(help="FIRST:COUNT: 2024-01:3 is January to March.")] = "",
    mode: Mode = "incremental",
    stage: Annotated[str, typer.Option(help="Run only this stage.")] = "",
    same_scn: SameScn = False,
    only_keys: OnlyKeys = None,
    as_json: AsJson = False,
) -> None:
    """Run partitions through their four stages in this process, without Airflow."""
    from assets.graph import materialize_lineage
    from kpc.ledger.states import StageState
    from kpc.stages.context import PartitionContext
    from kpc.stages.names import RECONCILED, STAGES, find_stage
    from kpc.stages.setting_folders import write_into

    check_mode(mode)
    partitions = _named_partitions(table, key, months)
    stages = (find_stage(stage),) if stage else STAGES
    results: list[dict[str, object]] = []
    state = Exit.DONE
    with user_workspace() as workspace:
        if RECONCILED in stages:  # a wrong folder should fail now, not after the load
            write_into(workspace.settings.reconcile.docs_root, workspace.settings)
        if only_keys is not None:
            mark_keys(workspace, partitions, only_keys, mode)
        for partition in partitions:
            context = PartitionContext(workspace, partition)
            with _naming_the_command(partition):
                for result in materialize_lineage(context, mode, stages, same_scn=same_scn):  # type: ignore[arg-type]
                    results.append(result.as_json())
                    if result.state == StageState.RECONCILED_WITH_EXCEPTIONS:
                        state = Exit.EXCEPTIONS
    columns = ("table", "key", "stage", "state", "rows", "seconds")
    cells = [[result[name] for name in columns] for result in results]
    emit({"ok": state is Exit.DONE, "receipts": results}, as_json=as_json, text=grid("", columns, cells))
    raise typer.Exit(state)


@contextmanager
def _naming_the_command(partition: Partition) -> Iterator[None]:
    """For a load that must wait: add to its error when it can continue, and the command for it."""
    try:
        yield
    except QuotaExhausted as full:
        time = f"{full.next_free_utc:%Y-%m-%d %H:%M:%S}"
        remedy = f"After {time} UTC continue with `{_resume_command(partition)}`; nothing is sent twice."
        raise QuotaExhausted(full.what, remedy, next_free_utc=full.next_free_utc) from None
    except Paused as paused:
        raise Paused(paused.what, f"After `kpc resume` continue with `{_resume_command(partition)}`.") from None
    except (SalesforceDown, RateLimited, UnusableAnswer, OutcomeUnknown) as lost:
        lost.add_remedy(f"Continue with `kpc run {partition.table.name} {partition.key}`; nothing is sent twice.")
        raise


def _resume_command(partition: Partition) -> str:
    return f"kpc run {partition.table.name} {partition.key} --stage sf_loaded"


def _begun_months(months: str) -> tuple[str, ...]:
    """The months of FIRST:COUNT. Raises `ConfigError` if they cannot be read or one has not begun."""
    keys = parse_months(months)
    refuse_future_month(keys[-1])
    return keys


def _named_partitions(table: str, key: str | None, months: str) -> tuple[Partition, ...]:
    if not months:
        partition = find_partition(table, key)
        refuse_future_month(partition.key)
        return (partition,)
    if key:
        raise ConfigError("A key and --months were both given.", "Give only one of them.")
    return partitions_of(find_table(table), _begun_months(months))


@explaining_errors
def rerun(
    table: TableName,
    key: Key,
    stage: Annotated[str, typer.Option(help="Start at this stage; later stages follow.")] = "oracle_extract",
    mode: Mode = "incremental",
    wait: Annotated[bool, typer.Option(help="Wait until all stages have ended.")] = True,
    same_scn: SameScn = False,
    unpause: Annotated[bool, typer.Option("--unpause", help="Unpause the partition's DAGs first.")] = False,
    only_keys: OnlyKeys = None,
    as_json: AsJson = False,
) -> None:
    """Run one partition again in Airflow; sends only new and changed rows, unless --mode is full."""
    from kpc.airflow_client.rerun import rerun_partition
    from kpc.settings import load_settings
    from kpc.stages.names import find_stage

    partition = find_partition(table, key)
    if only_keys is not None:
        with user_workspace() as workspace:
            mark_keys(workspace, (partition,), only_keys, mode)
    outcome = rerun_partition(
        load_settings(),
        partition,
        stage=find_stage(stage),
        mode=check_mode(mode),
        wait=wait,
        unpauses=unpause,
        same_scn=same_scn,
        say=say,
    )
    emit(outcome.as_json(), as_json=as_json, text=outcome.text)
    raise typer.Exit(outcome.exit_code)
