"""One demo from start to end: servers, campaign, summary, a re-run of one partition, shutdown."""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from kpc.airflow_client.rerun import follow
from kpc.catalog import TABLES, find_table
from kpc.catalog.types import ALL
from kpc.demo.airflow_config import TaskExecutor
from kpc.demo.campaign import Campaign
from kpc.demo.screen import Screen
from kpc.demo.servers import Data, World, started
from kpc.demo.summary import DemoSummary, split_time, summarize
from kpc.errors import ConfigError
from kpc.partition import month_keys
from kpc.salesforce import connect
from kpc.stages.names import MIGRATION, ORACLE_EXTRACT, asset_name

FIRST_MONTH = "2024-01"
RERUN_TABLE = "KPS_T_SALES_MD"  # one of its partitions is run a second time
INTERRUPTED = 130
_RERUN_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The options of `kpc demo`. Empty `tables` means all 16."""

    rows: int = 250_000
    months: int = 3
    tables: tuple[str, ...] = ()
    with_bad_rows: int = 0
    exit: bool = False
    json: bool = False
    work_dir: Path = Path(".kpc/demo")
    executor: TaskExecutor = TaskExecutor.LOCAL


def run_demo(options: DemoOptions) -> int:
    """Run the demo; returns the exit code: 0 all reconciled, 3 with exceptions, 1 otherwise, 130 interrupted.

    Raises `ConfigError` for invalid options.
    """
    tables = _chosen_tables(options.tables)
    months = month_keys(FIRST_MONTH, options.months)
    data = Data(options.rows, months, options.with_bad_rows)
    with ended_by_signals(), Screen() as screen:
        try:
            began = time.monotonic()
            screen.say("Starting both emulators, PostgreSQL and Airflow ...")
            with started(options.work_dir, data, executor=options.executor) as world:
                screen.say(f"Airflow is up: {world.api.url}")
                screen.say(f"Log in as one of: {world.airflow.users}")
                summary = _run(Campaign(world, tables, months), screen, began)
                if options.json:
                    print(json.dumps(summary.as_json()), flush=True)  # noqa: T201  the result
                if sys.stderr.isatty() and sys.stdin.isatty() and not options.exit:
                    _stay_up(world, tables, screen)
                screen.say("Stopping all servers ...")
        except KeyboardInterrupt:
            screen.close_grid()
            screen.say("Interrupted; all servers have stopped.")
            return INTERRUPTED
    return summary.exit_code


def _chosen_tables(names: tuple[str, ...]) -> tuple[str, ...]:
    """The tables to migrate, in load order. Raises `ConfigError` if a chosen table's parent was not chosen."""
    if not names:
        return tuple(TABLES)
    chosen = {find_table(name).name for name in names}
    for name in sorted(chosen):
        for lookup in TABLES[name].lookups:
            if lookup.parent not in chosen:
                raise ConfigError(f"{name} needs its parent {lookup.parent}.", f"Add {lookup.parent} to --tables.")
    return tuple(name for name in TABLES if name in chosen)


def _run(campaign: Campaign, screen: Screen, began: float) -> DemoSummary:
    world = campaign.world
    campaign.prepare()
    started_s = time.monotonic()
    campaign.start()
    screen.say(f"Triggered the DAG campaign over {len(campaign.partitions)} partitions; the scheduler does the rest.")
    for progress in campaign.watch():
        screen.show(progress)
    screen.close_grid()
    summary = summarize(campaign.progress, time.monotonic() - started_s)
    building = campaign.build_docs()
    if summary.exit_code != 1:
        summary = replace(summary, is_repeat_free=_rerun_one(campaign, screen))
    docs = campaign.finalize(building)
    if summary.exit_code != 1:
        screen.say(campaign.sign_off())
    screen.show_summary(summary)
    _say_time(campaign, screen, time.monotonic() - began)
    _say_addresses(world, docs, campaign.report(), screen)
    return summary


def _rerun_one(campaign: Campaign, screen: Screen) -> bool:
    """Run one partition again; True if it succeeded and, by the org's own job list, sent nothing a second time."""
    world = campaign.world
    partition = next((p for p in campaign.partitions if p.table.name == RERUN_TABLE), None)
    if partition is None:
        return True
    screen.say(f"Running {partition} again ...")
    before = _ingest_jobs(world)
    first = world.api.run(asset_name(partition.table, ORACLE_EXTRACT), world.api.rerun(partition))
    outcome = follow(world.api, partition, first, longest_wait_s=_RERUN_TIMEOUT_S)
    after = _ingest_jobs(world)
    if outcome.exit_code not in (0, 3):
        screen.say(f"The re-run did not succeed. {outcome.text}")
        return False
    sent = "nothing was sent twice" if after == before else f"{after - before} jobs were sent TWICE"
    screen.say(f"{partition} completed its four stages again: {before} ingest jobs before, {after} after; {sent}.")
    return after == before


def _ingest_jobs(world: World) -> int:
    salesforce = connect(world.settings.salesforce)
    try:
        return sum(1 for _ in salesforce.list_jobs())
    finally:
        salesforce.close()


def _say_time(campaign: Campaign, screen: Screen, seconds: float) -> None:
    mine = resource.getrusage(resource.RUSAGE_SELF)
    split = split_time(
        campaign.world.keeper.cpu_s(), campaign.api.events(since=campaign.since), demo_s=mine.ru_utime + mine.ru_stime
    )
    screen.say(f"{seconds:.0f} s in total. CPU seconds: {split}")


def _say_addresses(world: World, docs: Path | None, report: Path, screen: Screen) -> None:
    screen.say(f"Asset graph  {world.api.asset_page(MIGRATION)}")
    screen.say(f"Data Docs    {docs.as_uri() if docs else 'were not built; see the log of the DAG data_docs'}")
    screen.say(f"Report       {report.as_uri()}")
    screen.say(f"Log-ins      {world.airflow.users} (in {world.airflow.users.file})")
    screen.say(f"Logs         {world.logs}")


def _stay_up(world: World, tables: tuple[str, ...], screen: Screen) -> None:
    table = TABLES[RERUN_TABLE if RERUN_TABLE in tables else tables[0]]
    screen.say(
        "Airflow stays up until Ctrl-C. In another terminal, for example:\n"
        f"         KPC_CONFIG={world.config} kpc rerun {table.name} {FIRST_MONTH if table.is_monthly else ALL}"
    )
    try:
        while True:
            world.keeper.check()
            time.sleep(1.0)
    except KeyboardInterrupt:  # the expected way to end the demo
        return


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Make SIGTERM and a closed terminal end the demo and its servers, as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # SIGINT too: a shell that starts a background job may have set it to be ignored.
    ours = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in ours}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
