"""Partitions through a real Airflow: scheduler, triggerer, DAG processor and API server, over both emulators."""

from __future__ import annotations

import json
import stat
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow_world import PATIENCE_S, ended, jobs, records, rest, set_scope, start, wait_for
from pydantic import SecretStr
from sqlalchemy import insert

from kpc.airflow_client.api import AirflowApi
from kpc.airflow_client.records import DagRun
from kpc.airflow_client.rerun import RerunOutcome, follow, rerun_partition
from kpc.airflow_client.session import AirflowLogin
from kpc.airflow_client.setup_checks import check_airflow
from kpc.campaign.system_check import CheckState
from kpc.demo.servers import Data, World, started
from kpc.errors import ConfigError, Transient
from kpc.ledger.quota_entries import SAFETY, WINDOW
from kpc.ledger.schema import quota_entry
from kpc.local_time import LOCAL
from kpc.partition import Partition, find_partition, month_keys
from kpc.stages.names import (
    ALERTS,
    DATA_DOCS,
    LOAD_POOL,
    MIGRATION,
    ORACLE_EXTRACT,
    SF_LOADED,
    STAGED_CSV,
    STAGES,
    asset_name,
)
from kpc.stages.workspace import Workspace, open_workspace

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(400)]

MONTHS = month_keys("2024-01", 3)
EMPTY_MONTH = "2019-05"
SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
HEADERS = find_partition("KPS_T_SALES_M", "2024-01")
SIGN_OFFS = (MIGRATION, "phase_reference", "phase_sales", ALERTS)  # nobody starts them


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A fresh world with a small database; its campaign covers all tables."""
    with started(tmp_path_factory.mktemp("world"), Data(rows=3000, months=MONTHS)) as world:
        world.api.ensure_pools()
        wait_for(lambda: MIGRATION in world.api.dag_ids())
        set_scope(world, [*MONTHS, EMPTY_MONTH])
        yield world


@contextmanager
def small_scope(world: World) -> Iterator[None]:
    """The campaign covers the suppliers and one month of sale headers only."""
    set_scope(world, MONTHS[:1], [SUPPLIERS.table.name, HEADERS.table.name])
    try:
        yield
    finally:
        set_scope(world, [*MONTHS, EMPTY_MONTH])


@pytest.fixture(scope="module")
def reconciled(world: World) -> dict[Partition, RerunOutcome]:
    """The two partitions of a small campaign, started at stage 1 and followed to the end."""
    with small_scope(world):
        starts = {partition: start(world, partition) for partition in (SUPPLIERS, HEADERS)}
        outcomes = {partition: finish(world, partition, run) for partition, run in starts.items()}
        wait_for(lambda: MIGRATION in [event.asset for event in world.api.events()])
        rest(world)
    return outcomes


def finish(world: World, partition: Partition, run: DagRun) -> RerunOutcome:
    outcome = follow(world.api, partition, run, longest_wait_s=PATIENCE_S)
    assert outcome.ended, f"{partition} did not end in time"
    return outcome


def test_one_key_flows_through_four_stages(world: World, reconciled: dict[Partition, RerunOutcome]) -> None:
    """Stage 1 is started by key; asset events carry the key through the other three, and the records are in the org."""
    for partition, outcome in reconciled.items():
        assert outcome.exit_code == 0, outcome.text
        events = [event for event in world.api.events() if event.asset.startswith(f"{partition.table.slug}__")]
        assert [(event.asset, event.key) for event in events] == [
            (asset_name(partition.table, stage), partition.key) for stage in STAGES
        ]
        rows = {stage: stage_result["rows"] for stage, stage_result in outcome.stage_results.items()}
        assert rows[ORACLE_EXTRACT] == records(world, partition)
        assert records(world, partition) > 0
        generations = {stage_result["generation"] for stage_result in outcome.stage_results.values()}
        assert len(generations) == 1


def test_hub_signs_off_only_what_is_complete(world: World, reconciled: dict[Partition, RerunOutcome]) -> None:
    """The migration hub has an event when both partitions in scope are reconciled, and it says so."""
    last = [event for event in world.api.events() if event.asset == MIGRATION][-1]
    assert last.key == "ALL"
    nothing = dict.fromkeys(("with_exceptions", "missing", "undecided", "moved", "recount", "uncounted", "foreign"), 0)
    assert last.extra == {"partitions": 2, **nothing}


def test_rerunning_one_partition_touches_only_that_partition(
    world: World, reconciled: dict[Partition, RerunOutcome]
) -> None:
    """Its four stages run once more and then the hubs above it; nothing is sent a second time."""
    since, before, held = datetime.now(UTC), jobs(world), records(world, HEADERS)
    with small_scope(world):
        outcome = rerun_partition(world.settings, HEADERS)
        assert outcome.exit_code == 0, outcome.text
        wait_for(lambda: MIGRATION in [event.asset for event in world.api.events(since=since)])
        rest(world)
    ran = Counter((run.dag_id, run.key) for run in world.api.runs(since=since) if run.key)
    stages = {(asset_name(HEADERS.table, stage), HEADERS.key): 1 for stage in STAGES}
    assert ran == Counter({**stages, ("phase_sales", "ALL"): 1, (MIGRATION, "ALL"): 1})
    assert jobs(world) == before
    assert records(world, HEADERS) == held
    staged = outcome.stage_results[STAGED_CSV]["detail"]
    assert isinstance(staged, dict)
    assert (staged["staged"], staged["unchanged"]) == (0, held)


def test_an_empty_month_flows_through_with_no_rows(world: World) -> None:
    """A month without sales passes all four stages, sends nothing and is reconciled at zero."""
    empty = find_partition("KPS_T_SALES_M", EMPTY_MONTH)
    before = jobs(world)
    outcome = finish(world, empty, start(world, empty))
    assert outcome.exit_code == 0, outcome.text
    assert [stage_result["rows"] for stage_result in outcome.stage_results.values()] == [0, 0, 0, 0]
    assert jobs(world) == before


@contextmanager
def held_extract(world: World, partition: Partition) -> Iterator[None]:
    """Hold the lease of stage 1, so that whoever comes meanwhile waits."""
    with open_workspace(world.settings, run_id="test", actor="test") as workspace:
        environment = workspace.environment
        with workspace.ledger.leases.hold(environment, partition, ORACLE_EXTRACT, owner="test", ttl_s=60, wait_s=0):
            yield


def test_two_runs_of_one_key_do_not_double_the_work(world: World) -> None:
    """Two runs of the same key at once both end well, and the records are sent by one ingest job."""
    partition = find_partition("KPS_T_SALES_M", "2024-02")
    before = jobs(world)
    rest(world)  # or the two would not get their workers at the same time
    with held_extract(world, partition):
        first, second = start(world, partition), start(world, partition)
        wait_for(lambda: states(world, [first, second]) == [(ORACLE_EXTRACT, "running")] * 2)
        time.sleep(2)  # both are past their imports and wait for the lease
    assert finish(world, partition, first).exit_code == 0
    rest(world)
    dags = [asset_name(partition.table, stage) for stage in STAGES]
    runs = [run for dag in dags for run in world.api.runs(dag_id=dag, key=partition.key)]
    assert {run.state for run in runs} == {"success"}, [world.api.failure(r) for r in runs if r.state == "failed"]
    assert {first.run_id, second.run_id} <= {run.run_id for run in runs}
    assert jobs(world) - before == Counter({partition.table.target: 1})


def test_a_child_waits_for_its_parent(world: World) -> None:
    """Lines that come before their headers wait in their plan without a worker, and are loaded after them."""
    lines, headers = (find_partition(name, "2024-03") for name in ("KPS_T_SALES_MD", "KPS_T_SALES_M"))
    child = start(world, lines)
    loads = wait_for(lambda: loads_of(world, lines))
    wait_for(lambda: ("plan", "deferred") in states(world, loads))
    assert records(world, lines) == 0
    assert finish(world, headers, start(world, headers)).exit_code == 0
    assert finish(world, lines, child).exit_code == 0
    assert records(world, lines) > 0


def test_payments_wait_deferred_while_lines_of_their_month_load(world: World) -> None:
    """Both lock the same headers: the second plan defers without a slot, says for whom, and goes on by itself."""
    headers, lines, payments = (
        find_partition(name, "2024-03") for name in ("KPS_T_SALES_M", "KPS_T_SALES_MD", "KPS_T_SALESPAY_MD")
    )
    assert finish(world, headers, start(world, headers)).exit_code == 0
    _switch(world, processing="hold")
    try:
        first = start(world, lines, mode="full")
        wait_for(lambda: ("ingest", "deferred") in states(world, loads_of(world, lines)))
        second = start(world, payments)
        wait_for(lambda: ("plan", "deferred") in states(world, loads_of(world, payments)))
        (load,) = loads_of(world, payments)
        told = str(world.api.result(load, "plan", "waits_until"))
        assert "KPS_T_SALESPAY_MD 2024-03 waits while a job of KPS_T_SALES_MD 2024-03 is running" in told
        assert records(world, payments) == 0
    finally:
        _switch(world, processing="run")
    assert finish(world, lines, first).exit_code == 0
    assert finish(world, payments, second).exit_code == 0
    assert records(world, payments) > 0


def test_a_long_job_is_watched_by_the_triggerer(world: World) -> None:
    """While the org takes its time the chunk's task holds no worker; when the job ends it goes on by itself."""
    partition = find_partition("KPS_R_EMAIL_TENANT", "ALL")
    _switch(world, processing="hold")
    try:
        run = start(world, partition)
        loads = wait_for(lambda: loads_of(world, partition))
        wait_for(lambda: ("ingest", "deferred") in states(world, loads))
    finally:
        _switch(world, processing="run")
    assert finish(world, partition, run).exit_code == 0
    assert records(world, partition) > 0


def test_an_extract_outside_its_window_waits_deferred(world: World) -> None:
    """It holds no slot, says until when it waits, and goes on by itself when the window opens."""
    partition = find_partition("KPS_T_SALES_M", "2024-02")
    opens = datetime.now(LOCAL) + timedelta(seconds=90)  # a whole minute, and at least 30 s from now
    settings = world.config.read_text()
    window = f"{opens:%H:%M}-{opens + timedelta(hours=1):%H:%M}"
    world.config.write_text(settings.replace("[oracle]", f'[oracle]\nwindow = "{window}"'))
    try:
        run = start(world, partition)
        wait_for(lambda: (ORACLE_EXTRACT, "deferred") in states(world, [run]))
        until = datetime.fromisoformat(str(world.api.result(run, ORACLE_EXTRACT, "waits_until")))
        assert until == opens.replace(second=0, microsecond=0)
        outcome = finish(world, partition, run)
    finally:
        world.config.write_text(settings)
    assert outcome.exit_code == 0, outcome.text
    with open_workspace(world.settings, run_id="test", actor="test") as workspace:
        generation = workspace.ledger.generations.current(workspace.environment, partition)
    assert generation is not None
    assert generation.started_utc >= until


def test_a_load_without_quota_waits_for_the_exact_time(world: World) -> None:
    """With the day's batches used up, the plan defers to the second in which enough of them expire, then goes on."""
    partition = find_partition("KPS_WEB_SALES", "ALL")
    with open_workspace(world.settings, run_id="test", actor="test") as workspace:
        free_at = datetime.now(UTC) + timedelta(seconds=75)  # the plan must have deferred before, on a busy machine too
        _use_up_batches(workspace, counted_utc=free_at - WINDOW - SAFETY)
    run = start(world, partition)
    loads = wait_for(lambda: loads_of(world, partition))
    wait_for(lambda: ("plan", "deferred") in states(world, loads))
    assert free_at.isoformat(timespec="seconds") in str(world.api.result(loads[0], "plan", key="waits_until"))
    assert datetime.now(UTC) < free_at
    assert records(world, partition) == 0
    assert finish(world, partition, run).exit_code == 0
    assert datetime.now(UTC) > free_at
    assert records(world, partition) > 0


def _use_up_batches(workspace: Workspace, counted_utc: datetime) -> None:
    with workspace.ledger.database.writing() as connection:
        connection.execute(
            insert(quota_entry).values(
                target_id=workspace.environment.target_id, kind="job", rows=0, batches=15_000, calls=0,
                state="debited", counted_utc=counted_utc,
            )
        )  # fmt: skip


def test_a_paused_load_waits_until_it_is_resumed(world: World) -> None:
    """`kpc pause TABLE` holds its plan without a worker and without a slot; `kpc resume` lets it go on by itself."""
    partition = find_partition("KPS_T_SALESBANK_MD", "ALL")
    with open_workspace(world.settings, run_id="test", actor="test") as workspace:
        ledger, environment = workspace.ledger, workspace.environment
        ledger.pauses.start(environment, "table", partition.table.name, actor="test", reason="maintenance")
        run = start(world, partition)
        loads = wait_for(lambda: loads_of(world, partition))
        wait_for(lambda: ("plan", "deferred") in states(world, loads))
        assert "maintenance" in str(world.api.result(loads[0], "plan", key="waits_until"))
        assert records(world, partition) == 0
        assert ledger.pauses.lift(environment, "table", partition.table.name, actor="test") == 1
    assert finish(world, partition, run).exit_code == 0
    assert records(world, partition) > 0


def test_a_chunk_that_may_not_begin_gives_its_slot_back(world: World) -> None:
    """Paused after its plan, the chunk's task is rescheduled and holds no slot of the pool; resumed, it comes again."""
    partition = find_partition("KPS_T_SALES_APPRV", "ALL")
    with open_workspace(world.settings, run_id="test", actor="test") as workspace:
        ledger, environment = workspace.ledger, workspace.environment
        _resize_pool(world, 0)
        try:
            run = start(world, partition)
            loads = wait_for(lambda: loads_of(world, partition))
            wait_for(lambda: ("plan", "success") in states(world, loads))
            ledger.pauses.start(environment, "table", partition.table.name, actor="test")
        finally:
            _resize_pool(world, LOAD_POOL.slots)
        wait_for(lambda: ("ingest", "up_for_reschedule") in states(world, loads))
        assert _occupied(world) == 0
        assert records(world, partition) == 0
        ledger.pauses.lift(environment, "all", "all", actor="test")
    assert finish(world, partition, run).exit_code == 0
    assert records(world, partition) > 0


def _resize_pool(world: World, slots: int) -> None:
    body = {"name": LOAD_POOL.name, "slots": slots, "include_deferred": True, "description": ""}
    world.api._call(object, "PATCH", f"pools/{LOAD_POOL.name}", json=body)  # noqa: SLF001  only tests want no slots


def _occupied(world: World) -> int:
    use = world.api.pool_use()[LOAD_POOL.name]
    return use.slots - use.free


def _switch(world: World, **values: str) -> None:
    url = f"{world.settings.salesforce.base_url}/_emulator/switches"
    request = urllib.request.Request(url, json.dumps(values).encode(), method="PATCH")  # noqa: S310  our own server
    request.add_header("Content-Type", "application/json")
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310  the same


def loads_of(world: World, partition: Partition) -> Sequence[DagRun]:
    return world.api.runs(dag_id=asset_name(partition.table, SF_LOADED), key=partition.key)


def states(world: World, runs: Sequence[DagRun]) -> list[tuple[str, str | None]]:
    return [(task.task_id, task.state) for run in runs for task in world.api.tasks(run)]


def test_a_paused_dag_is_named_and_nothing_is_started(world: World) -> None:
    """Nothing is lost: the event that a paused DAG would miss is not made. --unpause goes on."""
    dag_id = asset_name(SUPPLIERS.table, SF_LOADED)
    world.api.pause(dag_id)
    since = datetime.now(UTC)
    began = time.monotonic()
    with pytest.raises(ConfigError, match=rf"{dag_id} is paused.*airflow dags unpause {dag_id}"):
        rerun_partition(world.settings, SUPPLIERS)
    assert time.monotonic() - began < 10
    assert world.api.runs(dag_id=asset_name(SUPPLIERS.table, ORACLE_EXTRACT), since=since) == []
    said: list[str] = []
    outcome = rerun_partition(world.settings, SUPPLIERS, unpauses=True, say=said.append)
    assert outcome.exit_code == 0
    assert said[0] == f"Unpaused {dag_id}."


def test_a_pool_without_slots_is_named(world: World) -> None:
    """Before a start as a refusal, and within seconds to whoever waits already.

    The load is a full one: an incremental one of unchanged records has no chunk, and so needs no slot.
    """
    said: list[str] = []
    pool = LOAD_POOL.name
    _resize_pool(world, 0)
    try:
        with pytest.raises(ConfigError, match=rf"pool {pool} has no slots.*airflow pools set {pool}"):
            rerun_partition(world.settings, SUPPLIERS)
        first = start(world, SUPPLIERS, mode="full")
        assert not follow(world.api, SUPPLIERS, first, say=said.append, longest_wait_s=15).ended
    finally:
        world.api.ensure_pools()
    assert any(f"pool {pool} has no slots" in text for text in said), said
    assert finish(world, SUPPLIERS, first).exit_code == 0


def test_each_user_may_do_what_their_role_allows(world: World) -> None:
    """Nobody is anonymous: a viewer only reads, a signer triggers, a run keeps the name."""
    for user in ("viewer", "signer", "admin"):
        with world.api_as(user) as api:
            assert MIGRATION in api.dag_ids()
    with world.api_as("viewer") as api, pytest.raises(ConfigError, match="does not allow this user"):
        api.trigger(DATA_DOCS)
    with world.api_as("signer") as api:
        run_id = api.trigger(DATA_DOCS)
        with pytest.raises(ConfigError, match="does not allow this user"):
            api.ensure_pools()
    asked = world.api._call(dict[str, object], "GET", f"dags/{DATA_DOCS}/dagRuns/{run_id}")  # noqa: SLF001  only tests
    assert asked["triggering_user_name"] == "signer"
    for login in (AirflowLogin("operator", SecretStr("wrong")), AirflowLogin()):
        with AirflowApi(world.airflow.url, login) as api, pytest.raises(ConfigError, match="KPC__AIRFLOW_PASSWORD"):
            api.dag_ids()
    assert stat.S_IMODE(world.airflow.users.file.stat().st_mode) == 0o600
    server_log = (world.logs / "airflow-api-server.log").read_text()
    assert all(each.get_secret_value() not in server_log for each in world.airflow.users.passwords.values())


def test_airflow_that_is_not_there_is_named() -> None:
    """Starting a run in an Airflow that is not there fails at once and says how to start one."""
    with AirflowApi("http://127.0.0.1:9") as api, pytest.raises(Transient, match=r"does not answer.*kpc demo"):
        api.trigger("data_docs")


def test_an_unknown_dag_is_named(world: World) -> None:
    """Asking for a DAG that does not exist names it."""
    with pytest.raises(ConfigError, match="does not know nothing_here"):
        world.api.trigger("nothing_here", "ALL")


def test_pools_are_of_the_agreed_sizes(world: World) -> None:
    """Making the pools twice changes nothing: 10 extracts, 15 jobs, 3 reconciliations, 1 builder."""
    world.api.ensure_pools()
    assert world.api.pools() == {
        "default_pool": (128, False),
        "oracle_extract": (10, False),
        "salesforce_bulk": (15, True),
        "salesforce_query": (3, True),
        "data_docs": (1, False),
    }


def test_data_docs_show_what_was_reconciled(world: World, reconciled: dict[Partition, RerunOutcome]) -> None:
    """The one task that builds the pages ends well, and the overview names both tables."""
    run = ended(world.api, "data_docs", world.api.trigger("data_docs"))
    assert run.state == "success", world.api.failure(run)
    index = Path(world.api.result(run, "data_docs")).read_text(encoding="utf-8")
    assert all(partition.table.name in index for partition in reconciled)


def test_preflight_runs_as_a_dag_and_is_a_page_of_the_data_docs(world: World) -> None:
    """A worker checks both systems and Airflow's pools; the page has every finding with its remedy."""
    run = ended(world.api, "preflight", world.api.trigger("preflight", conf={"dry_run": True}))
    assert run.state == "success", world.api.failure(run)
    counts = world.api.result(run, "check")
    assert counts["failed"] == 0
    assert counts["ok"] > 400
    page = Path(world.api.result(run, "show")).read_text(encoding="utf-8")
    for name in ("Salesforce", "dry run", "Airflow", "pool", "Oracle", "flashback", "storage", "executor"):
        assert name in page
    assert "preflight.html" in Path(world.api.result(run, "show")).with_name("index.html").read_text(encoding="utf-8")


def test_preflight_names_a_pool_without_slots(world: World) -> None:
    _resize_pool(world, 0)
    try:
        found = {(each.subject, each.name): each for each in check_airflow(world.api)}
    finally:
        _resize_pool(world, LOAD_POOL.slots)
    assert found[LOAD_POOL.name, "pool"].state is CheckState.FAILED
    assert "airflow pools set salesforce_bulk 15" in found[LOAD_POOL.name, "pool"].remedy
    assert all(each.is_ok for each in check_airflow(world.api))


def test_preflight_compares_the_pool_with_the_jobs_that_are_allowed(world: World) -> None:
    """Its remedy makes the pool as large as the setting, and preflight is content with that."""
    found = {(each.subject, each.name): each for each in check_airflow(world.api, jobs_in_flight=5)}
    pool = found[LOAD_POOL.name, "pool"]
    assert (pool.state, pool.message) == (
        CheckState.WARNING,
        "The pool salesforce_bulk has 15 slots, not the 5 that KPC__SALESFORCE__JOBS_IN_FLIGHT allows.",
    )
    assert "airflow pools set salesforce_bulk 5 " in pool.remedy
    _resize_pool(world, 5)
    try:
        assert all(each.is_ok for each in check_airflow(world.api, jobs_in_flight=5))
    finally:
        _resize_pool(world, LOAD_POOL.slots)


def test_months_of_one_pass_wait_for_the_run_that_reads_them_all(world: World) -> None:
    """Three months are started at once: one reads the table for all, the others wait deferred and take their parts."""
    months = [find_partition("KPS_T_SALES_MD", key) for key in MONTHS]
    with open_workspace(world.settings, run_id="test", actor="test") as workspace:
        workspace.ledger.scope.set(
            workspace.environment, months=MONTHS, tables=[months[0].table.name], mode="incremental", run_id="test",
            actor="test", access={months[0].table.name: "one pass"},
        )  # fmt: skip
        runs = [start(world, month) for month in months]
        for run in runs:
            assert ended(world.api, run.dag_id, run.run_id).state == "success"
        found = [workspace.ledger.generations.current(workspace.environment, month) for month in months]
    assert all(found)
    assert len({generation.scn for generation in found if generation}) == 1
