"""The triggers, run in one process as a triggerer does: what they fire, when, and at what cost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from checkout import SUPPORT
from emulated_org import Emulator
from staged_samples import fresh_keys, make_workspace, stage

from kpc.campaign.sign_off_evidence import certificates_digest
from kpc.ledger import open_ledger
from kpc.load.mapped_chunks import begin_chunk, plan_load
from kpc.partition import Environment, find_partition
from kpc.processes import python_env
from kpc.stages.context import PartitionContext

ENVIRONMENT = Environment("ora-1-1", "00D000000000001AAA")
OF_LEDGER = {"source_id": ENVIRONMENT.source_id, "target_id": ENVIRONMENT.target_id, "poll_s": 0.05}
SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
_OPEN = {"response_received": False, "responded_at": None, "chosen_options": None}
PROGRAM = SUPPORT / "fire_trigger.py"


def _fired(
    ledger_url: str,
    folder: Path,
    *triggers: tuple[str, dict[str, Any]],
    longest_s: float = 1.0,
    responded: dict[str, Any] | None = None,
    **settings: str,
) -> list[Any]:
    """The events of each trigger; all of them wait for `longest_s` at most.

    `responded` is what Airflow has of the response to a request for sign-off.
    """
    deadline = (datetime.now(UTC) + timedelta(seconds=longest_s)).isoformat()
    arguments = json.dumps([(name, subject | {"deadline_utc": deadline}) for name, subject in triggers])
    env = {
        **python_env(),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW_CONN_KPC_ORACLE": "oracle://nobody:nothing@127.0.0.1:1/none",
        "AIRFLOW_CONN_KPC_SALESFORCE": "http://nobody:nothing@127.0.0.1",
        "KPC__LEDGER_URL": ledger_url,
        **settings,
    }
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, PROGRAM, arguments, json.dumps(responded)],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def test_who_waits_in_vain_is_told_for_what(tmp_path: Path) -> None:
    """At the deadline a trigger fires all the same and names what is missing; otherwise it names nothing."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    ledger = open_ledger(url)
    ledger.pauses.start(ENVIRONMENT, "table", "KPS_T_SALES_M", actor="DBA", reason="maintenance")
    ledger.close()
    parents, paused, free = _fired(
        url,
        tmp_path,
        ("ParentsLoaded", OF_LEDGER | {"parents": [["KPS_T_SALES_M", "2024-01"], ["KPS_R_POS_SUPPLIER", "ALL"]]}),
        ("Resumed", OF_LEDGER | {"table": "KPS_T_SALES_M"}),
        ("Resumed", OF_LEDGER | {"table": "KPS_WEB_SALES"}),
    )
    assert parents == [{"still": ["KPS_T_SALES_M 2024-01", "KPS_R_POS_SUPPLIER ALL"]}]
    assert len(paused) == 1
    assert "maintenance" in paused[0]["still"][0]
    assert free == [{"still": []}]


def test_a_trigger_says_in_one_sentence_why_it_cannot_wait(tmp_path: Path) -> None:
    """A wrong address of the ledger ends the wait with the reason; one that does not answer is what is waited for."""
    resumed = ("Resumed", {"table": "KPS_WEB_SALES", "source_id": "s", "target_id": "o", "poll_s": 1.0})
    wrong, other = _fired("sqlite:///gone/ledger.db", tmp_path, resumed, resumed)
    assert wrong == other
    assert wrong[0]["still"] == []
    assert "The ledger's folder gone does not exist." in wrong[0]["error"]
    parents = ("ParentsLoaded", OF_LEDGER | {"parents": [["KPS_T_OLD", "ALL"]]})
    (unknown,) = _fired(f"sqlite:///{tmp_path}/ledger.db", tmp_path, parents)
    assert "KPS_T_OLD" in unknown[0]["error"]
    (silent,) = _fired("postgresql://u:p@127.0.0.1:1/d", tmp_path, resumed)
    assert "does not answer" in silent[0]["still"][0]


def test_a_response_that_came_before_the_wait_is_taken(tmp_path: Path) -> None:
    """Airflow wakes only who waits already; what was recorded in the moment before would be waited for in vain."""
    open_ledger(f"sqlite:///{tmp_path}/ledger.db").close()
    request = {
        "task_instance": "01a22262-81e5-78ee-b4e3-ea94cb287c8f",
        "subject": "reference",
        "certificates_sha256": certificates_digest({}),
        "newest": 0,
    }
    trigger = ("RequestOutdated", OF_LEDGER | request)
    response = {
        "response_received": True, "responded_by_user": {"id": "somchai", "name": "Somchai"},
        "responded_at": "2024-01-01T00:00:00Z", "chosen_options": ["Approve"], "params_input": {"note": "seen"},
    }  # fmt: skip
    (fired,) = _fired(f"sqlite:///{tmp_path}/ledger.db", tmp_path, trigger, responded=response)
    assert fired[0]["chosen_options"] == ["Approve"]
    assert fired[0]["responded_by_user"] == response["responded_by_user"]
    (still,) = _fired(f"sqlite:///{tmp_path}/ledger.db", tmp_path, trigger, responded=_OPEN)
    assert still == [{"still": ["an answer about reference"]}]


def test_the_triggers_of_one_process_follow_their_jobs_together(
    emulated: Callable[..., Emulator], tmp_path: Path
) -> None:
    """Eight jobs of which the org works on four: every end fires at once, and the list of jobs serves all of them."""
    emulator = emulated("rows_per_s=50")  # rows are shown in steps of 200, so each job works for four seconds
    workspace = make_workspace(tmp_path, emulator.settings, "run-1")
    stage(workspace, SUPPLIERS, fresh_keys(16), chunk_rows=2)
    specs = plan_load(PartitionContext(workspace, SUPPLIERS))
    jobs = [begin_chunk(workspace, spec) for spec in specs]
    before, began = emulator.api_requests(), datetime.now(UTC)
    connection = {
        "conn_type": "http",
        "host": emulator.facts["base_url"],
        "login": emulator.facts["client_id"],
        "password": emulator.facts["client_secret"],
    }
    wanted = {"run_id": "run-1", "actor": "tester"}
    fired = _fired(
        f"sqlite:///{tmp_path}/ledger.db",
        tmp_path,
        *(
            ("JobEnded", wanted | {"spec": spec.as_json(), "job_id": job_id})
            for spec, job_id in zip(specs, jobs, strict=True)
        ),
        longest_s=60,
        AIRFLOW_CONN_KPC_SALESFORCE=json.dumps(connection),
        KPC__STAGING__ROOT=str(tmp_path / "staging"),
    )
    assert fired == [[{"error": ""}]] * len(jobs)
    assert (datetime.now(UTC) - began).total_seconds() < 30
    assert emulator.api_requests() - before <= 4 * len(jobs)
    workspace.close()
