"""Sign-off in a real Airflow: people who log in respond to requests, through the REST API and in the browser."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import oracledb
import pytest
from chromium import chromium
from playwright.sync_api import sync_playwright

from kpc.airflow_client.hitl import PersonRequest, open_requests, respond
from kpc.airflow_client.records import DagRun
from kpc.campaign.audit import check_audit, places_of
from kpc.campaign.sign_off import revoke_sign_off
from kpc.campaign.sign_off_answer import CLOSED
from kpc.campaign.sign_off_evidence import certificates_digest, standing_certificates
from kpc.campaign.sign_off_list import SignOffStanding, is_signed_off, list_sign_offs
from kpc.demo.servers import Data, World, started
from kpc.errors import ConfigError
from kpc.ledger import SignOff, Vouched
from kpc.partition import find_partition, month_keys
from kpc.retry_policy import retried
from kpc.stages.names import MIGRATION, sign_off_dag, sign_off_run
from kpc.stages.workspace import Workspace, open_workspace

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

PATIENCE_S = 300.0
MONTHS = month_keys("2024-01", 2)
SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
WEB_SALES = find_partition("KPS_WEB_SALES", "ALL")
PHASES = {"reference": SUPPLIERS, "sales": WEB_SALES}

T = TypeVar("T")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A small database; one table of two phases is in scope, and both are reconciled."""
    with started(tmp_path_factory.mktemp("world"), Data(rows=3000, months=MONTHS, with_bad_rows=24)) as world:
        retried(world.api.ensure_pools)
        wait_for(lambda: sign_off_dag(MIGRATION) in world.api.dag_ids())
        plan(world)
        for partition in PHASES.values():
            world.api.rerun(partition)
        yield world


def plan(world: World) -> None:
    """Record the scope, and vouch for it as `kpc plan` does."""
    tables = [partition.table.name for partition in PHASES.values()]
    with opened(world) as workspace:
        ledger, environment, who = workspace.ledger, workspace.environment, {"run_id": "test", "actor": "test"}
        with ledger.together():
            number = ledger.scope.set(environment, months=MONTHS, tables=tables, mode="incremental", **who)
            vouched = Vouched((("scope", str(number)),))
            ledger.audit.append("test planned", environment=environment, vouched=vouched, **who)


@contextmanager
def opened(world: World) -> Iterator[Workspace]:
    with open_workspace(world.settings, run_id="test", actor="test") as workspace:
        yield workspace


def wait_for(ask: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    until = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.5)
    return answer


def waiting(world: World, subject: str, task: str = "request") -> PersonRequest:
    """The open request about the present certificates, as soon as there is one."""

    def found() -> PersonRequest | None:
        asked = [one for one in open_requests(world.api, sign_off_dag(subject)) if one.task_id == task]
        return asked[0] if asked and present_sha256(world, subject) in asked[0].body else None

    request = wait_for(found)
    assert request is not None
    return request


def asked_again(world: World, subject: str) -> PersonRequest:
    """An open request, whatever was decided before: a sign-off that stands is revoked, and the DAG triggered."""
    with opened(world) as workspace:
        standing = [one.sign_off for one in list_sign_offs(workspace) if one.standing is SignOffStanding.STANDS]
        for one in standing:
            if one.subject == subject and one.revokes is None and one.decision == "accepted":
                revoke_sign_off(one.id, workspace, note="for the next test")
    if not open_requests(world.api, sign_off_dag(subject)):
        world.api.trigger(sign_off_dag(subject))
    return waiting(world, subject)


def present_sha256(world: World, subject: str) -> str:
    with opened(world) as workspace:
        return certificates_digest(standing_certificates(subject, workspace.ledger, workspace.environment))


def answer(world: World, user: str, request: PersonRequest, *, approves: bool = True, note: str = "") -> None:
    with world.api_as(user) as api:
        respond(api, request, approves=approves, note=note)


def ended(world: World, request: PersonRequest) -> DagRun:
    wait_for(lambda: world.api.run(request.dag_id, request.run_id).is_final)
    return world.api.run(request.dag_id, request.run_id)


def states(world: World, request: PersonRequest) -> dict[str, str | None]:
    return {task.task_id: task.state for task in world.api.tasks(world.api.run(request.dag_id, request.run_id))}


def decisions(world: World, subject: str) -> list[SignOff]:
    with opened(world) as workspace:
        return [one.sign_off for one in list_sign_offs(workspace) if one.sign_off.subject == subject]


@contextmanager
def configured(world: World, lines: str) -> Iterator[None]:
    """Settings of the sign-off for all tasks that start meanwhile."""
    before = world.config.read_text()
    world.config.write_text(f"{before}\n[sign_off]\n{lines}\n")
    try:
        yield
    finally:
        world.config.write_text(before)


def test_a_complete_phase_asks_once_and_a_person_signs(world: World) -> None:
    """However many hubs find it complete, one run asks; a viewer may not respond; the decision names who signed."""
    for subject in (*PHASES, MIGRATION):
        request = waiting(world, subject)
        assert request.run_id == sign_off_run(present_sha256(world, subject))
        assert [run.run_id for run in world.api.runs(dag_id=request.dag_id)] == [request.run_id]
    request = waiting(world, "sales")
    assert re.search(r"\| KPS_WEB_SALES \| `\w+` \| \d+ \|", request.body)
    assert all(text in request.body for text in ("### Coverage", "read back and compared", "Sign-off report"))
    assert f"{world.api.url}/migration/docs/reports/" in request.body
    with pytest.raises(ConfigError, match="HTTP 403"):
        answer(world, "viewer", request)
    answer(world, "signer", request, note="as agreed")
    assert ended(world, request).state == "success"
    (made,) = decisions(world, "sales")
    assert (made.actor, made.identified, made.note) == ("signer", "logged in to Airflow as signer", "as agreed")
    assert made.is_authenticated
    assert certificates_digest(made.certificates or {}) == present_sha256(world, "sales")
    assert states(world, request)["second_request"] == "skipped"
    with opened(world) as workspace:
        assert is_signed_off("sales", workspace)
        assert not is_signed_off("reference", workspace)
        assert check_audit(workspace.ledger, places_of(workspace.settings)).findings == []
    with pytest.raises(ConfigError, match="HTTP 409"):
        answer(world, "operator", request, approves=False)


def test_new_data_closes_the_request_and_asks_anew(world: World) -> None:
    """Whoever answers the closed one is refused by Airflow; a sign-off of the former certificates stands no more."""
    former = asked_again(world, "sales")
    update(world, "UPDATE KPS_WEB_SALES SET TOTAL_AMT = TOTAL_AMT + 1, UPDATEDDATE = SYSDATE")
    world.api.rerun(WEB_SALES)
    assert ended(world, former).state == "success"
    assert states(world, former) == dict.fromkeys(("request", "record", "second_request", "second_record"), "skipped")
    with pytest.raises(ConfigError, match="HTTP 409"):
        answer(world, "signer", former)
    with opened(world) as workspace:
        closed = workspace.ledger.audit.of_action(CLOSED, workspace.environment)[-1]
    assert "no longer those that this request shows" in closed.detail["reason"]
    request = waiting(world, "sales")
    assert request.run_id == sign_off_run(present_sha256(world, "sales")) != former.run_id
    answer(world, "operator", request)
    ended(world, request)
    assert decisions(world, "sales")[-1].actor == "operator"


def update(world: World, statement: str) -> None:
    oracle = world.settings.oracle
    with (
        oracledb.connect(user=oracle.user, password=oracle.password.get_secret_value(), dsn=oracle.dsn) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
        connection.commit()


def test_a_task_marked_as_successful_records_nothing(world: World) -> None:
    """The task that records fails with a sentence that says how to be asked again, and that works."""
    request = asked_again(world, "reference")
    before = len(decisions(world, "reference"))
    world.api.session.ask(object, "PATCH", request.path, json={"new_state": "success"})
    run = ended(world, request)
    assert run.state == "failed"
    assert "marked as successful or skipped by hand, which signs nothing" in world.api.failure(run)
    assert f"trigger the DAG {request.dag_id}" in world.api.failure(run)
    assert len(decisions(world, "reference")) == before
    assert asked_again(world, "reference").run_id != request.run_id


def test_a_refusal_is_recorded_with_the_person(world: World) -> None:
    """Its run ends well, the phase is not signed off, and the next request about it shows the refusal."""
    request = asked_again(world, "reference")
    answer(world, "signer", request, approves=False, note="a table is missing")
    assert ended(world, request).state == "success"
    made = decisions(world, "reference")[-1]
    assert (made.decision, made.actor, made.note) == ("refused", "signer", "a table is missing")
    with opened(world) as workspace:
        assert not is_signed_off("reference", workspace)
    assert f"Sign-off {made.id}: reference refused by signer" in asked_again(world, "reference").body


def test_four_eyes_refuse_the_same_person_twice(world: World) -> None:
    """The first signature is recorded and a second request made; the same person fails it, another completes it."""
    with configured(world, "four_eyes = true"):
        request = asked_again(world, "reference")
        answer(world, "signer", request)
        second = waiting(world, "reference", "second_request")
        assert "one of them has already" in second.body
        answer(world, "signer", second)
        run = ended(world, second)
        assert (run.state, states(world, second)["second_record"]) == ("failed", "failed")
        assert "came from signer, who has signed these certificates already" in world.api.failure(run)
        third = wait_for(lambda: asked_after(world, "reference"))
        answer(world, "operator", third)
        assert ended(world, third).state == "success"
    assert [one.actor for one in decisions(world, "reference")[-2:]] == ["signer", "operator"]
    with opened(world) as workspace:
        standing = [one.standing for one in list_sign_offs(workspace) if one.sign_off.subject == "reference"]
    assert standing[-2:] == [SignOffStanding.STANDS] * 2


def asked_after(world: World, subject: str) -> PersonRequest:
    world.api.trigger(sign_off_dag(subject))
    return waiting(world, subject)


def test_only_named_users_are_offered_the_response(world: World) -> None:
    """Airflow itself refuses the others."""
    with configured(world, 'signers = "signer, auditor"'):
        if found := open_requests(world.api, sign_off_dag("reference")):
            answer(world, "operator", found[0], approves=False)
            ended(world, found[0])
        request = asked_again(world, "reference")
        with pytest.raises(ConfigError, match="HTTP 403"):
            answer(world, "operator", request)
        answer(world, "signer", request)
        assert ended(world, request).state == "success"
    assert decisions(world, "reference")[-1].actor == "signer"


def test_a_phase_without_anything_in_scope_is_not_asked_for(world: World) -> None:
    """Triggered by hand, the run fails with the reason."""
    dag_id = sign_off_dag("pre-invoice")
    run_id = world.api.trigger(dag_id)
    wait_for(lambda: world.api.run(dag_id, run_id).is_final)
    assert "Nothing of pre-invoice is in the campaign's scope" in world.api.failure(world.api.run(dag_id, run_id))


def test_a_signer_approves_in_the_browser(world: World, tmp_path: Path) -> None:
    """Logs in, finds the request under Required Actions, reads what is signed for, writes a note, approves."""
    path = chromium()
    request = asked_again(world, MIGRATION)
    password = json.loads(world.airflow.users.file.read_text())["signer"]
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=path) as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 1500})
        page.set_default_timeout(PATIENCE_S * 1000)
        page.goto(world.api.url)
        page.fill("input[name=username]", "signer")
        page.fill("input[name=password]", password)
        page.keyboard.press("Enter")
        page.wait_for_url("**/")
        page.goto(f"{world.api.url}/required_actions?response_received=false")  # as the Migration page links
        page.get_by_role("link", name="Sign off the migration").first.click()
        page.get_by_text("What your answer does").wait_for()
        of_request = f"dags/{request.dag_id}/runs/{request.run_id}/tasks/{request.task_id}/required_actions"
        assert page.url.startswith(f"{world.api.url}/{of_request}")
        assert page.get_by_role("cell", name="KPS_WEB_SALES").count() >= 1
        assert present_sha256(world, MIGRATION) in page.inner_text("body")
        page.screenshot(path=tmp_path / "request.png")
        page.fill("input[name=element_note]", "seen in the browser")
        page.get_by_role("button", name="Approve").click()
        ended(world, request)
    made = decisions(world, MIGRATION)[-1]
    assert (made.actor, made.decision, made.note) == ("signer", "accepted", "seen in the browser")
