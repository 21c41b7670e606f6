"""A task whose requests to Airflow's API server fail is tried again, and takes nothing for absent that it cannot see.

The task runs under Airflow's own supervisor; the server is one that fails as each test wants.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from airflow.sdk.serde import deserialize, serialize

from kpc.processes import python_env

_PROGRAM = Path(__file__).parent.parent / "support" / "supervised_task.py"
_DAG = """
from airflow.sdk import DAG, task
from dags.connections import has_connection
from dags.failure_log import log_sentences
from dags.retrying import RETRIES, RetryWhatMayPass
from dags.signatures import AskForSignOff

with DAG("asks", schedule=None, default_args={
    "retries": RETRIES, "retry_policy": RetryWhatMayPass(), "pre_execute": log_sentences
}):
    @task
    def connection():
        print("found:", has_connection("kpc_oracle"))

    @task
    def result(**context):
        print("found:", context["ti"].xcom_pull(task_ids="connection"))

    connection(), result()
    AskForSignOff(task_id="request", signs="migration")
"""
_RUN = {
    "dag_run": {
        "dag_id": "asks", "run_id": "run", "logical_date": None, "data_interval_start": None, "data_interval_end": None,
        "run_after": "2024-01-01T00:00:00Z", "start_date": "2024-01-01T00:00:00Z", "end_date": None,
        "run_type": "manual", "state": "running", "consumed_asset_events": [], "partition_key": None,
    },
    "max_tries": 3, "should_retry": True,
}  # fmt: skip
_NOTHING: Mapping[str, Any] = {}
_CONNECTION = {
    "conn_id": "kpc_oracle", "conn_type": "oracle", "host": "h", "port": 1521, "schema": "S", "login": "u",
    "password": "p", "extra": None,
}  # fmt: skip
RESET = 0  # in place of a status: the connection ends without an answer


@dataclass
class ApiServer:
    """Answers what a task asks in its turn with `statuses`, the last one for ever, and keeps how the task ended.

    `run` is what a task is told at its start.
    """

    statuses: list[int]
    run: dict[str, Any]
    has_database: bool = True
    url: str = ""
    ends: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, object]:
        if path.endswith("/run"):
            return 200, self.run
        if path.endswith("/state"):
            self.ends.append(body)
        if path.startswith("/dag-runs/count"):
            return (200, 0) if self.has_database else (500, {"detail": "no database"})
        if not path.startswith(("/connections/", "/xcoms/")):
            return 204, None
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return status, _CONNECTION if status == 200 else {"detail": {"reason": "as the test wants"}}


@contextmanager
def serving(fake: ApiServer) -> Iterator[ApiServer]:
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            status, answer = fake.answer(self.path, body)
            if status == RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            data = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_PATCH = do_POST = do_DELETE = handle_any  # noqa: N815  the base class's names

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        fake.url = f"http://127.0.0.1:{server.server_port}"
        yield fake
        server.shutdown()


def run(
    task: str,
    folder: Path,
    *statuses: int,
    has_database: bool = True,
    resumed: Mapping[str, Any] = _NOTHING,
    **own: str,
) -> tuple[dict[str, Any], str]:
    """How the task ended, as it told the server, and its log. `own` are variables of its environment."""
    (folder / "asking.py").write_text(_DAG)
    settings = {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "2",
        "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MIN": "0.01",
        "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "0.02",
    }
    env = {name: value for name, value in python_env().items() if not name.upper().startswith(("KPC", "AIRFLOW"))}
    with serving(ApiServer(list(statuses), {**_RUN, **resumed}, has_database)) as server:
        command = [sys.executable, str(_PROGRAM), "asking.py", "asks", task, server.url]
        done = subprocess.run(  # noqa: S603  our own program
            command, env=env | settings | own, capture_output=True, text=True, timeout=120, check=False
        )
    log = done.stdout + done.stderr
    assert len(server.ends) == 1, log
    return server.ends[0], log


@pytest.mark.parametrize("status", [503, RESET])
def test_an_unanswered_question_for_a_connection_is_repeated(status: int, tmp_path: Path) -> None:
    """Airflow says that there is no such connection; the environment's settings must not be used in its place."""
    end, log = run("connection", tmp_path, status)
    assert end["state"] == "up_for_retry", log
    assert "connection kpc_oracle could not be looked up: ExecutionAPISecretsBackend failed (" in end["retry_reason"]
    assert "found:" not in log
    assert "Traceback" not in log.split("could not be looked up")[-1]


@pytest.mark.parametrize(("statuses", "found"), [([404], False), ([200], True), ([503, 503, 200], True)])
def test_a_connection_is_absent_only_if_the_server_says_so(statuses: list[int], found: bool, tmp_path: Path) -> None:
    end, log = run("connection", tmp_path, *statuses)
    assert end["state"] == "success", log
    assert f"found: {found}" in log


def test_a_server_without_its_database_knows_nothing_of_connections(tmp_path: Path) -> None:
    """It says that there is none (HTTP 404), whatever its database holds."""
    end, log = run("connection", tmp_path, 404, has_database=False)
    assert end["state"] == "up_for_retry", log
    assert "connection kpc_oracle could not be looked up: ExecutionAPISecretsBackend failed (" in end["retry_reason"]


@pytest.mark.parametrize(("status", "reason"), [(503, "HTTP 503"), (RESET, "ReadError|RemoteProtocolError")])
def test_any_unanswered_request_makes_another_try(status: int, reason: str, tmp_path: Path) -> None:
    end, log = run("result", tmp_path, status)
    assert end["state"] == "up_for_retry", log
    assert "did not do what this task asked of it" in end["retry_reason"]
    assert any(one in end["retry_reason"] for one in reason.split("|")), end


def test_a_refused_request_is_not_repeated(tmp_path: Path) -> None:
    """The server has answered: the same request would be refused again."""
    end, log = run("result", tmp_path, 422)
    assert end["state"] == "failed", log


@pytest.mark.slow
def test_a_response_outlives_an_outage_of_the_ledger(tmp_path: Path) -> None:
    """It is kept with the wait; another try of the task would have lost what the person decided."""
    response = {
        "chosen_options": ["Approve"], "params_input": {"note": "all seen"}, "timedout": False,
        "responded_at": datetime(2024, 1, 1, tzinfo=UTC), "responded_by_user": {"id": "somchai", "name": "Somchai"},
    }  # fmt: skip
    resumed = {"next_method": "execute_complete", "next_kwargs": serialize({"event": response})}
    with socket.create_server(("127.0.0.1", 0)) as port:  # nobody listens there once it is closed
        ledger = f"postgresql+psycopg2://kpc:none@127.0.0.1:{port.getsockname()[1]}/ledger"
    end, log = run("request", tmp_path, 404, resumed=resumed, KPC__LEDGER_URL=ledger)
    assert end["state"] == "deferred", log
    assert end["next_method"] == "enter_later"
    assert deserialize(end["next_kwargs"])["response"] == response
