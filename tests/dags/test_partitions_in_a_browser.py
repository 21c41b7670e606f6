"""A person clicks: trigger with a key, read why a key is refused, clear a run, fill in a backfill.

With the variable PICTURES, which names a folder, the pages are saved there as the pictures of docs/partitions.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_world import ended, finish, runs_of, start, wait_for
from chromium import chromium
from playwright.sync_api import Locator, Page, expect, sync_playwright

from kpc.demo.servers import World
from kpc.demo.users import OPERATOR
from kpc.partition import find_partition
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, STAGED_CSV, STAGES, asset_name

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
PARTITION = find_partition("KPS_T_SALES_APPRV", "ALL")
MONTH = find_partition("KPS_T_SALES_M", "2024-07")


@pytest.fixture
def page(partition_world: World) -> Iterator[Page]:
    """A browser in which the operator is logged in."""
    login = partition_world.airflow.users.login(OPERATOR)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium())
        page = browser.new_page(viewport={"width": 1100, "height": 760})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(partition_world.airflow.url)
        page.locator("input[name=username]").fill(login.user)
        page.locator("input[name=password]").fill(login.password.get_secret_value())
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("link", name="Dags").first).to_be_visible(timeout=PATIENCE_MS)
        yield page
        browser.close()


def keep_picture(page: Page, name: str) -> None:
    if folder := os.environ.get("PICTURES"):
        page.wait_for_timeout(1500)  # until moving parts have arrived
        page.screenshot(path=Path(folder) / f"{name}.png")


def trigger_form(world: World, page: Page, dag_id: str) -> Locator:
    page.goto(f"{world.airflow.url}/dags/{dag_id}")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    form.get_by_text("Advanced Options").click()
    return form


def test_trigger_with_a_key(partition_world: World, page: Page) -> None:
    """No key, then a wrong one: the page says what to type. The right one: all four stages run with it."""
    dag_id = asset_name(PARTITION.table, ORACLE_EXTRACT)
    before = len(partition_world.api.runs(dag_id=dag_id))
    trigger_form(partition_world, page, dag_id)
    submit = page.get_by_test_id("trigger-dag-submit")
    submit.dispatch_event("click")
    expect(page.get_by_text("A partition key is missing. Give one, such as ALL").first).to_be_visible()
    page.locator("input[name=partitionKey]").fill("all")
    submit.dispatch_event("click")
    expect(page.get_by_text("The table has a single partition: give ALL").first).to_be_visible()
    assert len(partition_world.api.runs(dag_id=dag_id)) == before
    page.locator("input[name=partitionKey]").fill("ALL")
    submit.dispatch_event("click")
    (run,) = wait_for(lambda: partition_world.api.runs(dag_id=dag_id)[before:])
    assert run.key == "ALL"
    assert finish(partition_world, PARTITION, run).exit_code == 0


def test_pictures_of_the_trigger_form(partition_world: World, page: Page) -> None:
    """A month's key in the field under Advanced Options, the year of another calendar, and a range of months."""
    form = trigger_form(partition_world, page, asset_name(MONTH.table, ORACLE_EXTRACT))
    page.locator("input[name=partitionKey]").fill("2024-01")
    keep_picture(page, "trigger")
    page.locator("input[name=partitionKey]").fill("2567-01")
    page.get_by_test_id("trigger-dag-submit").dispatch_event("click")
    expect(page.get_by_text("Buddhist calendar, type 2024-01").first).to_be_visible()
    keep_picture(page, "wrong-key")
    form.get_by_text("Run this Dag for a range of dates").click()
    expect(form.get_by_role("button", name="Run Backfill")).to_be_visible()
    keep_picture(page, "backfill")


def test_clear_a_run(partition_world: World, page: Page) -> None:
    """Clear on a run's page runs the stage again, and its event the stages after it."""
    api = partition_world.api
    assert finish(partition_world, MONTH, start(partition_world, MONTH)).exit_code == 0
    (staging,) = runs_of(partition_world, MONTH, STAGED_CSV)
    comparisons = len(runs_of(partition_world, MONTH, RECONCILED))
    page.goto(f"{partition_world.airflow.url}/dags/{staging.dag_id}/runs/{staging.run_id}")
    page.get_by_role("button", name="clear").first.click()
    form = page.get_by_role("dialog")
    expect(form.get_by_text("Affected Tasks: 1")).to_be_visible()
    keep_picture(page, "clear")
    form.get_by_role("button", name="Confirm").click()
    wait_for(lambda: len(runs_of(partition_world, MONTH, RECONCILED)) == comparisons + 1)
    assert ended(api, staging.dag_id, staging.run_id).state == "success"
    last = runs_of(partition_world, MONTH, RECONCILED)[-1]
    assert ended(api, last.dag_id, last.run_id).state == "success"
    assert [len(runs_of(partition_world, MONTH, stage)) for stage in STAGES] == [1, 1, 2, comparisons + 1]


def test_a_failed_task_says_what_to_do(partition_world: World, page: Page) -> None:
    """Its log's page shows the sentence, and no frame of a traceback."""
    partition = find_partition("KPS_T_SALESPAY_MD", "2024-07")
    dag_id = asset_name(partition.table, STAGED_CSV)
    run = ended(partition_world.api, dag_id, partition_world.api.rerun(partition, STAGED_CSV))
    page.goto(f"{partition_world.airflow.url}/dags/{dag_id}/runs/{run.run_id}/tasks/{STAGED_CSV}")
    expect(page.get_by_text("has not been extracted yet. Run `kpc rerun").first).to_be_visible()
    assert page.get_by_text("task_runner.py").count() == 0
    keep_picture(page, "task-log")
