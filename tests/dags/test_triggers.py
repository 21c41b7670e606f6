"""The triggers that ask the ledger: what they fire, and when."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from checkout import SUPPORT

from kpc.ledger import open_ledger
from kpc.partition import Environment
from kpc.processes import python_env

ENVIRONMENT = Environment("ora-1-1", "00D000000000001AAA")
PROGRAM = SUPPORT / "fire_trigger.py"


def _fired(ledger_url: str, folder: Path, *triggers: tuple[str, dict[str, Any]]) -> list[Any]:
    """The events of each trigger; all of them wait for a second at most."""
    common = {
        "source_id": ENVIRONMENT.source_id,
        "target_id": ENVIRONMENT.target_id,
        "poll_s": 0.05,
        "deadline_utc": (datetime.now(UTC) + timedelta(seconds=1)).isoformat(),
    }
    arguments = json.dumps([(name, common | subject) for name, subject in triggers])
    env = {
        **python_env(),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW_CONN_KPC_ORACLE": "oracle://nobody:nothing@127.0.0.1:1/none",
        "AIRFLOW_CONN_KPC_SALESFORCE": "http://nobody:nothing@127.0.0.1",
        "KPC__LEDGER_URL": ledger_url,
    }
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, PROGRAM, arguments], env=env, cwd=folder, capture_output=True, text=True, check=False
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
        ("ParentsLoaded", {"parents": [["KPS_T_SALES_M", "2024-01"], ["KPS_R_POS_SUPPLIER", "ALL"]]}),
        ("Resumed", {"table": "KPS_T_SALES_M"}),
        ("Resumed", {"table": "KPS_WEB_SALES"}),
    )
    assert parents == [{"still": ["KPS_T_SALES_M 2024-01", "KPS_R_POS_SUPPLIER ALL"]}]
    assert len(paused) == 1
    assert "maintenance" in paused[0]["still"][0]
    assert free == [{"still": []}]


def test_a_trigger_says_in_one_sentence_why_it_cannot_wait(tmp_path: Path) -> None:
    """A wrong address of the ledger ends the wait with the reason; one that does not answer is what is waited for."""
    wrong, other = _fired("sqlite:///gone/ledger.db", tmp_path, *[("Resumed", {"table": "KPS_WEB_SALES"})] * 2)
    assert wrong == other
    assert wrong[0]["still"] == []
    assert "The ledger's folder gone does not exist." in wrong[0]["error"]
    (silent,) = _fired("postgresql://u:p@127.0.0.1:1/d", tmp_path, ("Resumed", {"table": "KPS_WEB_SALES"}))
    assert "does not answer" in silent[0]["still"][0]
