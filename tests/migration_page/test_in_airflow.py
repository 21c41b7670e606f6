"""The Migration page in a real Airflow: its log-in, its roles, its frame, in Chromium and with bare requests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
import pytest
from chromium import chromium
from playwright.sync_api import Browser, FrameLocator, Page, expect, sync_playwright

from kpc.airflow_client.rerun import follow
from kpc.demo.servers import Data, World, started
from kpc.partition import find_partition, month_keys
from kpc.stages.names import DATA_DOCS, MIGRATION, ORACLE_EXTRACT, asset_name
from kpc.stages.workspace import Workspace, open_workspace

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]

PATIENCE_S = 240.0
SUPPLIERS = "KPS_R_POS_SUPPLIER"
OURS = {"X-Kpc-Page": "1"}

T = TypeVar("T")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A fresh world; its campaign covers the suppliers and three months of sale headers."""
    months = month_keys("2024-01", 3)
    with started(tmp_path_factory.mktemp("world"), Data(rows=3000, months=months)) as world:
        world.api.ensure_pools()
        wait_for(lambda: MIGRATION in world.api.dag_ids())
        with ledger_of(world) as workspace:
            tables = [SUPPLIERS, "KPS_T_SALES_M"]
            workspace.ledger.scope.set(
                workspace.environment, months=months, tables=tables, mode="incremental", run_id="test", actor="test"
            )
        yield world


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_S * 1000)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield opened
        opened.close()


def ledger_of(world: World) -> Any:
    return open_workspace(world.settings, run_id="test", actor="test")


def wait_for(ask: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    until = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.5)
    return answer


def token_of(world: World, user: str) -> str:
    login = {"username": user, "password": world.airflow.users.passwords[user].get_secret_value()}
    answer = httpx.post(f"{world.airflow.url}/auth/token", json=login, timeout=60)
    return str(answer.raise_for_status().json()["access_token"])


def as_user(world: World, user: str | None, *, cookie: bool = False) -> httpx.Client:
    """A client of the page, with the token as a header or as the browser's cookie."""
    base = f"{world.airflow.url}/migration/"
    if user is None:
        return httpx.Client(base_url=base, timeout=60)
    token = token_of(world, user)
    if cookie:
        return httpx.Client(base_url=base, timeout=60, cookies={"_token": token})
    return httpx.Client(base_url=base, timeout=60, headers={"Authorization": f"Bearer {token}"})


@contextmanager
def opened(world: World, browser: Browser, user: str, *, width: int = 1400) -> Iterator[tuple[Page, FrameLocator]]:
    """Airflow's own page with the Migration page in its frame."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.set_default_timeout(PATIENCE_S * 1000)
    context.add_cookies([{"name": "_token", "value": token_of(world, user), "url": world.airflow.url}])
    page = context.new_page()
    page.goto(f"{world.airflow.url}/plugin/migration")
    frame = page.frame_locator("iframe")
    frame.locator("td.cell").first.wait_for()
    yield page, frame
    context.close()


def cell(frame: FrameLocator, name: str) -> Any:
    return frame.locator(f'td.cell[data-name="{name}"]')


def actions(workspace: Workspace) -> list[tuple[str, str]]:
    return [(entry.action, entry.actor) for entry in workspace.ledger.audit.entries()]


def test_nothing_is_shown_without_a_session(world: World) -> None:
    """401 for the page, its data, its files and its actions; a browser gets a page with the way to the log-in."""
    with as_user(world, None) as nobody:
        for path in (
            "",
            "api/me",
            "api/overview",
            "docs/index.html",
            "api/reports",
            f"api/certificates/{SUPPLIERS}/ALL",
        ):
            assert nobody.get(path).status_code == 401, path
        for path in ("api/pause", "api/resume", "api/runs"):
            assert nobody.post(path, json={"kind": "all"}, headers=OURS).status_code == 401, path
        assert "/auth/login" in nobody.get("", headers={"Accept": "text/html"}).text


def test_a_viewer_reads_and_changes_nothing(world: World) -> None:
    """Airflow's role decides: the overview, but no action."""
    with as_user(world, "viewer") as viewer, ledger_of(world) as workspace:
        assert {one["table"] for one in viewer.get("api/overview").json()["tables"]} == {SUPPLIERS, "KPS_T_SALES_M"}
        assert viewer.get("api/me").json()["may_start"] == []
        before = workspace.ledger.audit.head()
        run = {"table": SUPPLIERS, "key": "ALL", "stage": "oracle_extract"}
        for path, body in (("api/pause", {"kind": "all"}), ("api/resume", {"kind": "all"}), ("api/runs", run)):
            assert viewer.post(path, json=body, headers=OURS).status_code == 403, path
        assert workspace.ledger.audit.head() == before


def test_a_stolen_click_changes_nothing(world: World) -> None:
    """The user's cookie alone is not enough: another site's form has it too."""
    with as_user(world, "operator", cookie=True) as operator, ledger_of(world) as workspace:
        assert operator.get("api/me").json()["name"] == "operator"
        before = workspace.ledger.audit.head()
        body = json.dumps({"kind": "all"})
        forged = operator.post("api/pause", content=body, headers={"Content-Type": "text/plain"})
        foreign = operator.post("api/pause", content=body, headers={**OURS, "Origin": "http://evil.test"})
        assert (forged.status_code, foreign.status_code) == (403, 403)
        assert workspace.ledger.audit.head() == before


def test_a_partition_is_run_again_with_the_keyboard(world: World, browser: Browser) -> None:
    """In Airflow's frame: arrows, Enter, the menu; the run is the user's, and the page follows it without a reload."""
    with opened(world, browser, "operator") as (page, frame):
        page.evaluate("window.isTheSamePage = true")
        cell(frame, "KPS_T_SALES_M 2024-01").focus()
        page.keyboard.press("ArrowUp")
        expect(cell(frame, f"{SUPPLIERS} ALL")).to_be_focused()
        page.keyboard.press("Enter")
        expect(frame.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(frame.get_by_role("dialog")).to_be_hidden()
        expect(cell(frame, f"{SUPPLIERS} ALL")).to_be_focused()
        page.keyboard.press("Enter")
        frame.get_by_role("button", name="Run again").click()
        frame.get_by_role("button", name="Start").click()
        link = frame.locator(".answer a")
        link.wait_for()
        (run,) = world.api.runs(dag_id="kps_r_pos_supplier__oracle_extract")
        assert link.inner_text() == run.run_id
        page.keyboard.press("Escape")
        expect(cell(frame, f"{SUPPLIERS} ALL")).to_have_class("cell wide c-reconciled")
        assert page.evaluate("window.isTheSamePage") is True
        with ledger_of(world) as workspace:
            made = [entry for entry in workspace.ledger.audit.entries() if entry.actor == "airflow:operator"]
            assert [entry.action for entry in made if entry.action.startswith("run ")] == [
                "run requested",
                "run started",
            ]
            assert made[-1].run_id
        details = httpx.get(
            f"{world.airflow.url}/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}",
            headers={"Authorization": f"Bearer {token_of(world, 'operator')}"},
            timeout=60,
        ).json()
        assert details["triggering_user_name"] == "operator"


def test_links_lead_out_of_the_frame(world: World, browser: Browser) -> None:
    """Airflow's frame forbids it, so its own document follows them: to the run of a stage."""
    with opened(world, browser, "viewer") as (page, frame):
        cell(frame, f"{SUPPLIERS} ALL").click()
        expect(frame.get_by_role("button", name="Run again")).to_have_count(0)
        expect(frame.get_by_role("button", name="Pause")).to_have_count(0)
        frame.get_by_role("link", name="run", exact=True).first.click()
        page.wait_for_url("**/dags/kps_r_pos_supplier__oracle_extract/runs/**")


def test_loads_are_paused_and_resumed_from_the_page(world: World, browser: Browser) -> None:
    """With a reason that everybody sees; both are audited."""
    with opened(world, browser, "operator", width=400) as (_, frame):
        assert frame.locator("body").evaluate("body => body.scrollWidth <= innerWidth")
        frame.get_by_role("button", name="Pause all loads").click()
        frame.get_by_label("Reason").fill("index is rebuilt")
        frame.get_by_label("Reason").press("Enter")
        expect(frame.locator(".paused")).to_contain_text("All loads are paused")
        expect(frame.locator(".paused")).to_contain_text("index is rebuilt")
        frame.get_by_role("button", name="Resume").click()
        expect(frame.locator(".paused")).to_have_count(0)
        with ledger_of(world) as workspace:
            assert actions(workspace)[-2:] == [
                ("loads paused", "airflow:operator"),
                ("loads resumed", "airflow:operator"),
            ]


def test_evidence_is_served_behind_the_log_in(world: World) -> None:
    """Data Docs as pages; the certificate with counts in the place of keys."""
    partition = find_partition(SUPPLIERS, "ALL")
    first = world.api.run(asset_name(partition.table, ORACLE_EXTRACT), world.api.rerun(partition))
    assert follow(world.api, partition, first, longest_wait_s=PATIENCE_S).exit_code == 0
    run = world.api.trigger(DATA_DOCS)
    wait_for(lambda: world.api.run(DATA_DOCS, run).is_final)
    with as_user(world, "viewer", cookie=True) as viewer:
        assert SUPPLIERS in viewer.get("docs/index.html").text
        found = viewer.get(f"api/certificates/{SUPPLIERS}/ALL").json()
        assert (found["state"], found["exceptions"], found["corrections"]) == ("reconciled", {}, 0)


def test_a_run_that_would_wait_in_vain_is_not_started(world: World) -> None:
    """A paused DAG would lose the event: the page says so, and the log names the refusal."""
    dag = "kps_r_pos_supplier__staged_csv"
    world.api.pause(dag)
    try:
        with as_user(world, "operator") as operator, ledger_of(world) as workspace:
            run = {"table": SUPPLIERS, "key": "ALL", "stage": "oracle_extract"}
            answer = operator.post("api/runs", json=run, headers=OURS)
            assert answer.status_code == 409
            assert f"{dag} is paused" in answer.json()["what"]
            assert actions(workspace)[-1] == ("run refused", "airflow:operator")
    finally:
        world.api.pause(dag, is_paused=False)
