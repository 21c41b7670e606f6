"""The emulator can be given a new, empty org under its address, as if it had just been started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from salesforce_emulator_process import EmulatorProcess

CONTENT = "External_ID__c,Pos_Supplier_Code__c\nr-1,A\n"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., EmulatorProcess]]:
    started: list[EmulatorProcess] = []

    def one(*options: str) -> EmulatorProcess:
        started.append(EmulatorProcess(tmp_path, ("--port", "0", *options)).start())
        return started[-1]

    yield one
    for emulator in started:
        emulator.stop()


def _state(emulator: EmulatorProcess) -> dict[str, object]:
    state: dict[str, object] = emulator.client.get("/_emulator").json()
    return state


def _reset(emulator: EmulatorProcess) -> httpx.Response:
    return emulator.client.post("/_emulator/reset")


def test_nothing_is_left_of_the_org_before(start: Callable[..., EmulatorProcess]) -> None:
    """Records, jobs at work, history, usage, time, sessions, switches and faults are those of a start."""
    emulator = start("--switch", "result_quotes=necessary")
    fresh = _state(emulator)
    assert emulator.load("KPS_PosSupplier__c", CONTENT)["state"] == "JobComplete"
    emulator.client.patch("/_emulator/switches", json={"processing": "hold", "result_quotes": "always"})
    held, opened = emulator.create_job("KPS_PosSupplier__c"), emulator.create_job("KPS_PosSupplier__c")
    emulator.upload(held, CONTENT)
    emulator.set_state(held)
    emulator.client.post("/_emulator/usage", json={"batches": 7})
    emulator.client.post("/_emulator/clock", json={"advance_s": 86_400})
    emulator.client.post("/_emulator/faults", json={"action": "status", "path": "/limits", "times": -1})
    answer = _reset(emulator)
    assert answer.status_code == 200
    assert emulator.get("limits").status_code == 401
    state = _state(emulator)
    assert state.pop("org_id") == answer.json()["org_id"] != fresh.pop("org_id")
    assert str(state.pop("clock"))[:27] >= str(fresh.pop("clock"))[:27]
    assert state == fresh
    assert emulator.client.get("/_emulator/history").json() == []
    emulator.client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    assert emulator.get("limits").status_code == 200
    for job in (held, opened):
        assert emulator.get(f"jobs/ingest/{job['id']}").status_code == 404


def test_the_new_org_can_be_loaded(start: Callable[..., EmulatorProcess]) -> None:
    """Its credentials log in, a job is worked off, and the org before accepts nobody."""
    emulator = start()
    old = {name: emulator.ready[name] for name in ("client_id", "client_secret")}
    new = _reset(emulator).json()
    login = {"grant_type": "client_credentials"}
    assert emulator.client.post("/services/oauth2/token", data=login | old).status_code == 400
    login |= {name: new[name] for name in ("client_id", "client_secret")}
    token = emulator.client.post("/services/oauth2/token", data=login).json()["access_token"]
    emulator.client.headers["Authorization"] = f"Bearer {token}"
    assert emulator.load("KPS_PosSupplier__c", CONTENT)["numberRecordsFailed"] == 0
    assert emulator.count("SELECT Id FROM KPS_PosSupplier__c") == 1


def test_an_org_that_was_kept_on_purpose_stays(start: Callable[..., EmulatorProcess], tmp_path: Path) -> None:
    """With a data file the org outlives the process, so a request must not end it."""
    emulator = start("--data-file", str(tmp_path / "org.duckdb"))
    answer = _reset(emulator)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "BAD_RESET")
    assert emulator.get("limits").status_code == 200
