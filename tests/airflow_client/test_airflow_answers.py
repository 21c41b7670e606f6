"""Airflow's answers are checked like any server's: one sentence for what cannot be used, and no escapes on a screen."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator

import pytest
from misbehaving_server import MisbehavingServer, misbehaving_server

from kpc.airflow_client.api import AirflowApi
from kpc.errors import AirflowDown, AirflowNotReached, ConfigError, KpcError, RateLimited, UnknownDag, UnusableAnswer
from kpc.retry_policy import FEW_TRIES, tries_of

pytestmark = pytest.mark.usefixtures("quick_retries")

RUN = {
    "dag_id": "d",
    "dag_run_id": "r",
    "partition_key": "2024-01",
    "state": "failed",
    "run_after": "2024-05-01T12:00:00Z",
    "start_date": None,
    "end_date": None,
}


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with misbehaving_server() as running:
        running.plan("/auth/token", {"access_token": "t"})
        yield running


def refused(server: MisbehavingServer, kind: type[KpcError]) -> str:
    """What a person reads when the API is asked for a run."""
    with AirflowApi(server.url) as api, pytest.raises(kind) as caught:
        api.run("d", "r")
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b"<html>log in</html>", b"[" * 100_000, b'{"dag_id": "\xff"}', b'{"dag_id": 1}'],
    ids=["empty", "null", "list", "object", "page", "deep", "not UTF-8", "wrong type"],
)
def test_an_odd_answer_is_one_sentence(server: MisbehavingServer, body: bytes) -> None:
    """It names the request and the setting, for a single object and for a list."""
    server.plan("GET /api/v2/", body)
    assert "KPC__AIRFLOW_URL" in refused(server, UnusableAnswer)
    with AirflowApi(server.url) as api:
        with pytest.raises(UnusableAnswer):
            api.pools()
        assert not api.is_healthy()
    server.plan("/auth/token", body)
    refused(server, UnusableAnswer)


@pytest.mark.parametrize(
    ("status", "detail"),
    [(404, "Dag with dag_id: 'd' not found"), (400, "Dag 'd' has import errors and cannot be triggered")],
)
def test_a_dag_that_airflow_has_lost_for_a_while_is_told_apart(
    server: MisbehavingServer, status: int, detail: str
) -> None:
    """A campaign waits for it; a command ends with what to look at."""
    server.plan("POST /api/v2/dags/d/dagRuns", {"detail": detail}, status)
    with AirflowApi(server.url) as api, pytest.raises(UnknownDag, match="airflow dags list"):
        api.trigger("d", "2024-01")


def test_a_bomb_is_refused(server: MisbehavingServer) -> None:
    """A gigabyte in a megabyte is not unfolded."""
    server.plan("GET /api/v2/", gzip.compress(bytes(1 << 20) * 300), headers={"Content-Encoding": "gzip"})
    assert "decompressed" in refused(server, UnusableAnswer)


def test_one_refusal_of_a_read_costs_only_time(server: MisbehavingServer) -> None:
    """429 and server errors are repeated, and the log-in's too say what they are."""
    for status in (429, 500, 503):
        server.plan("GET /api/v2/", RUN)
        server.plan("GET /api/v2/", {"detail": "later"}, status, times=1)
        with AirflowApi(server.url) as api:
            assert api.run("d", "r").key == "2024-01"
    server.plan("GET /api/v2/", {"detail": "later"}, 503)
    refused(server, AirflowDown)
    server.plan("/auth/token", {"detail": "later"}, 429)
    refused(server, RateLimited)


def test_an_address_that_never_answered_is_given_up_soon() -> None:
    """Whoever types a command while Airflow does not run should not wait for a minute."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with AirflowApi(address) as api, pytest.raises(AirflowNotReached, match="does not answer") as caught:
        api.run("d", "r")
    assert tries_of(caught.value) == FEW_TRIES < tries_of(AirflowDown("", ""))


def test_no_redirect_carries_the_token_away(server: MisbehavingServer) -> None:
    """A redirect is a refusal; the other server hears nothing."""
    with misbehaving_server() as other:
        server.plan("GET /api/v2/", b"", 302, headers={"Location": f"{other.url}/x"})
        refused(server, ConfigError)
        assert other.received == []


def test_a_tasks_error_is_harmless_on_a_screen(server: MisbehavingServer) -> None:
    """Its text comes from a log that anything may have written to."""
    evil = "\x1b[2J\u202eevil\r\nnext" + "x" * 9000
    server.plan("GET .*/logs/", {"content": [{"error_detail": [{"exc_value": evil}]}]})
    task = {"task_id": "load", "map_index": -1, "state": "failed", "try_number": 1}
    server.plan("GET .*/taskInstances[?]", {"task_instances": [task], "total_entries": 1})
    server.plan("GET .*/dagRuns/r$", RUN)
    with AirflowApi(server.url) as api:
        text = api.failure(api.run("d", "r"))
    assert text.isprintable()
    assert "\\x1b[2J" in text
    assert len(text) < 2_100
