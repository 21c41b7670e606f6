"""A response becomes a decision only if it is from a known, allowed person, and about the current certificates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from misbehaving_server import misbehaving_server
from oracle_source import OracleServer

from assets.reconciled import reconciled
from kpc.airflow_client.api import AirflowApi
from kpc.airflow_client.missed_hubs import missed_hubs
from kpc.campaign.audit import check_audit, places_of
from kpc.campaign.plan import plan_campaign
from kpc.campaign.sign_off import sign_off
from kpc.campaign.sign_off_answer import CLOSED, NOT_RECORDED, Answer, OpenRequest
from kpc.campaign.sign_off_evidence import certificates_digest, standing_certificates
from kpc.campaign.sign_off_list import is_signed_off, list_sign_offs
from kpc.campaign.sign_off_request import sign_off_request
from kpc.campaign.sign_off_text import Evidence, request_text
from kpc.catalog import find_table
from kpc.errors import ConfigError
from kpc.partition import find_partition
from kpc.settings import SignOffSettings
from kpc.stages.context import PartitionContext
from kpc.stages.names import sign_off_run
from kpc.stages.workspace import Workspace

PARTITION = find_partition("KPS_R_EMAIL_TENANT", "ALL")
PHASE = "reference"
APPROVED = Answer(accepts=True, user_id="7", user_name="somsri", note="checked")


@pytest.fixture
def complete(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> Iterator[PartitionContext]:
    """The only partition in scope is reconciled."""
    workspace = workspaces(oracle, emulated().settings)
    plan_campaign(workspace, (find_table(PARTITION.table.name),), (), "full")
    context = PartitionContext(workspace, PARTITION)
    results_by_stage(context)
    yield context


def _ask(context: PartitionContext, step: str = "request") -> OpenRequest:
    asked = OpenRequest(PHASE, step, context.workspace)
    asked.note_request(sign_off_request(PHASE, context.workspace), report_sha256="")
    return asked


def _signers(context: PartitionContext) -> list[tuple[str, str, bool | None]]:
    return [
        (one.sign_off.actor, str(one.sign_off.decision), one.sign_off.is_authenticated)
        for one in list_sign_offs(context.workspace)
    ]


def test_a_response_is_recorded_once_with_the_person(complete: PartitionContext) -> None:
    """Repeating the task that records changes nothing; the audit log vouches for all of it."""
    asked = _ask(complete)
    asked.note_answer(APPROVED)
    assert asked.record() == asked.record() == 1
    assert is_signed_off(PHASE, complete.workspace)
    (listed,) = list_sign_offs(complete.workspace)
    one = listed.sign_off
    assert (one.actor, one.identified, one.note) == ("somsri", "logged in to Airflow as 7", "checked")
    assert one.is_authenticated
    assert check_audit(complete.ledger, places_of(complete.settings)).findings == []


def test_a_refusal_is_recorded(complete: PartitionContext) -> None:
    """With the person; the phase is not signed off."""
    asked = _ask(complete)
    asked.note_answer(Answer(accepts=False, user_id="7", user_name="somsri", note="numbers missing"))
    asked.record()
    assert _signers(complete) == [("somsri", "refused", True)]
    assert not is_signed_off(PHASE, complete.workspace)


@pytest.mark.parametrize("name", ["Anonymous", "anonymous", ""])
def test_nobody_in_particular_cannot_sign(complete: PartitionContext, name: str) -> None:
    """Neither the user of an Airflow without log-in, nor an answer without a user."""
    asked = _ask(complete)
    asked.note_answer(Answer(accepts=True, user_id=name, user_name=name))
    with pytest.raises(ConfigError, match=r"log in under your own name.*trigger the DAG sign_off_reference"):
        asked.record()
    assert _signers(complete) == []
    (entry,) = complete.ledger.audit.of_action(NOT_RECORDED, complete.environment)
    assert "log in" in entry.detail["reason"]


def test_a_task_marked_as_successful_signs_nothing(complete: PartitionContext) -> None:
    """Without an answer there is no decision, even if a former request of the same run had one."""
    with pytest.raises(ConfigError, match="has no response"):
        OpenRequest(PHASE, "request", complete.workspace).record()
    asked = _ask(complete)
    asked.note_answer(APPROVED)
    _ask(complete)
    with pytest.raises(ConfigError, match="has no response"):
        asked.record()
    assert _signers(complete) == []


def test_a_retry_does_not_ask_again_for_an_answer_that_is_there(complete: PartitionContext) -> None:
    """Until it has been recorded as a decision, or the certificates have changed."""
    asked = _ask(complete)
    assert not asked.has_unused_answer()
    asked.note_answer(APPROVED)
    assert asked.has_unused_answer()
    asked.record()
    assert not asked.has_unused_answer()
    complete.settings.sign_off = SignOffSettings(signers="8")
    again = _ask(complete)
    again.note_answer(APPROVED)
    assert again.has_unused_answer()
    with pytest.raises(ConfigError, match="not named"):
        again.record()
    assert not again.has_unused_answer()
    again = _ask(complete)
    again.note_answer(APPROVED)
    reconciled.materialize(complete)
    assert not again.has_unused_answer()


def test_another_run_answers_nothing(complete: PartitionContext) -> None:
    """An answer belongs to the run, the phase and the task that asked."""
    asked = _ask(complete)
    for subject, step in ((PHASE, "second_request"), ("migration", "request")):
        OpenRequest(subject, step, complete.workspace).note_answer(APPROVED)
    with pytest.raises(ConfigError, match="has no response"):
        asked.record()


def test_only_those_named_can_sign(complete: PartitionContext) -> None:
    complete.settings.sign_off = SignOffSettings(signers="8, 9")
    asked = _ask(complete)
    asked.note_answer(APPROVED)
    with pytest.raises(ConfigError, match="not named in KPC__SIGN_OFF__SIGNERS"):
        asked.record()
    complete.settings.sign_off = SignOffSettings(signers="8, 7")
    assert asked.record() == 1


def test_an_answer_to_other_certificates_is_refused(complete: PartitionContext) -> None:
    """The partition was compared again after the request was made."""
    asked = _ask(complete)
    assert asked.outdated() == ""
    asked.note_answer(APPROVED)
    reconciled.materialize(complete)
    assert "no longer those that this request shows" in asked.outdated()
    with pytest.raises(ConfigError, match="came too late: The certificates of reference"):
        asked.record()
    assert _signers(complete) == []


def test_a_decision_elsewhere_ends_a_request(complete: PartitionContext) -> None:
    """Somebody refused on the command line while the request was open."""
    asked = _ask(complete)
    sign_off(PHASE, None, complete.workspace, accepts=False, note="not yet")
    assert asked.outdated() == "Sign-off 1 decided about reference while this request was open."
    asked.note_closed(asked.outdated())
    assert complete.ledger.audit.of_action(CLOSED, complete.environment)


def test_four_eyes_want_two_people(complete: PartitionContext) -> None:
    """The same person is refused a second time, even under another display name; another person completes it."""
    complete.settings.sign_off = SignOffSettings(four_eyes=True)
    first = _ask(complete)
    first.note_answer(APPROVED)
    first.record()
    assert not is_signed_off(PHASE, complete.workspace)
    second = _ask(complete, "second_request")
    second.note_answer(Answer(accepts=True, user_id="7", user_name="S. Omsri"))
    with pytest.raises(ConfigError, match=r"came from 7, who has signed these certificates already.*another person"):
        second.record()
    second = _ask(complete, "second_request")
    second.note_answer(Answer(accepts=True, user_id="8", user_name="somsri"))
    second.record()
    assert is_signed_off(PHASE, complete.workspace)


def test_what_is_incomplete_is_not_asked_for(complete: PartitionContext) -> None:
    """The message names what is missing, and how to be asked again."""
    plan_campaign(complete.workspace, (find_table("KPS_R_EMAIL_TENANT"), find_table("KPS_R_POS_SUPPLIER")), (), "full")
    with pytest.raises(ConfigError, match=r"KPS_R_POS_SUPPLIER ALL.*trigger the DAG sign_off_reference"):
        sign_off_request(PHASE, complete.workspace)


def test_the_request_shows_what_is_signed_for(complete: PartitionContext) -> None:
    """Totals, coverage with the second opinion, exceptions, former decisions, the certificates' hash, the report."""
    sign_off(PHASE, None, complete.workspace, accepts=False, note="a wrong number: 1234")
    request = sign_off_request(PHASE, complete.workspace)
    text = request_text(request, [Evidence("Sign-off report", "https://docs.example/reports/one.html", "5" * 64)])
    figures = request.tables[0].figures
    rows = f"{figures.source_rows:,}"
    assert f"| KPS_R_EMAIL_TENANT | 1 | {rows} | {rows} | 0 | {rows} | {rows} |" in text
    assert f"For {rows} of them, 100.0%, Oracle itself computed" in text
    assert request.certificates_sha256 in text
    assert f"[one.html](https://docs.example/reports/one.html), sha256 `{'5' * 64}`" in text
    assert "1234" not in text


@pytest.mark.parametrize(
    ("state", "later", "causes"),
    [("failed", "failed", ["failed"]), ("failed", "running", []), ("running", "failed", []), ("success", "failed", [])],
)
def test_a_request_that_failed_is_named_among_what_is_missed(
    complete: PartitionContext, state: str, later: str, causes: list[str]
) -> None:
    """Its run exists, so the hub makes no other, and nobody would be asked; unless a person has started a later run."""
    standing = standing_certificates(PHASE, complete.ledger, complete.environment)
    run_id = sign_off_run(certificates_digest(standing))
    found = {"dag_id": "sign_off_reference", "dag_run_id": run_id, "state": state, "run_after": "2024-05-01T12:00:00Z"}
    by_hand = {**found, "dag_run_id": "manual__1", "state": later}
    with misbehaving_server() as airflow, AirflowApi(airflow.url) as api:
        airflow.plan("/auth/token", {"access_token": "t"})
        airflow.plan("GET /api/v2/dags/sign_off_reference/dagRuns", {"dag_runs": [found, by_hand], "total_entries": 2})
        airflow.plan("GET /api/v2/dags/.*/taskInstances", {"task_instances": [], "total_entries": 0})
        airflow.plan(
            "GET /api/v2/dags/migration/dagRuns", {"dag_runs": [{**found, "state": "running"}], "total_entries": 1}
        )
        airflow.plan("GET /api/v2/dags/sign_off_migration/dagRuns", {"dag_runs": [], "total_entries": 0})
        missed = missed_hubs(api, complete.workspace, after=timedelta(0))
    mine = [one for one in missed if one.subject == PHASE]
    assert [one.cause.value for one in mine] == causes
    assert all(run_id in one.what and not one.is_startable for one in mine)
