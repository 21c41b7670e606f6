"""The life of the Salesforce emulator's process: files, restarts, kills."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from salesforce_emulator_process import EmulatorProcess

pytestmark = pytest.mark.emulator_only

SUPPLIER = "KPS_PosSupplier__c"
HEADER = "External_ID__c,Pos_Supplier_Code__c\n"
COUNT = f"SELECT COUNT() FROM {SUPPLIER}"


@pytest.fixture
def kept(tmp_path: Path) -> EmulatorProcess:
    """An emulator that keeps its data in a file; not started yet."""
    return EmulatorProcess(tmp_path, ("--data-file", str(tmp_path / "org.duckdb")))


def lines(count: int) -> str:
    return HEADER + "".join(f"r{n},A\n" for n in range(count))


def test_the_ready_file_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    """It holds secrets: mode 0600, and so does the key beside it."""
    emulator = EmulatorProcess(tmp_path).start()
    files = [emulator.ready_file, Path(emulator.ready["jwt_private_key_file"])]
    assert [stat.S_IMODE(each.stat().st_mode) for each in files] == [0o600, 0o600]
    assert {"base_url", "access_token", "client_id", "client_secret"} <= set(emulator.ready)
    assert emulator.stop(signal.SIGINT) == 0
    assert not any(each.exists() for each in files)
    assert "emulator" in (tmp_path / "log.txt").read_text()


def test_records_jobs_results_and_identity_survive_a_restart(kept: EmulatorProcess) -> None:
    """Also the client's secret; the session does not."""
    before = kept.start().ready
    job = kept.load(SUPPLIER, lines(10) + "bad,TOO LONG\n")
    results = {kind: kept.result(job, kind) for kind in ("successfulResults", "failedResults")}
    soql = COUNT.replace("COUNT()", "External_ID__c")
    query = kept.client.post(kept.url("jobs/query"), json={"operation": "query", "query": soql}).json()
    kept.wait_for(query, "query")
    assert kept.stop() == 0
    after = kept.start().ready
    for name in ("org_id", "client_id", "client_secret"):
        assert after[name] == before[name]
    assert after["access_token"] != before["access_token"]
    assert kept.count(COUNT) == 10
    assert {kind: kept.result(job, kind) for kind in results} == results
    assert kept.get(f"jobs/query/{query['id']}/results").headers["Sforce-NumberOfRecords"] == "10"
    assert kept.get("limits").json()["DailyBulkApiBatches"]["Remaining"] == 14_999
    assert kept.stop() == 0


def test_a_job_that_a_kill_interrupted_is_finished_without_duplicates(kept: EmulatorProcess) -> None:
    """Whole batches that were committed are not done again, the others are."""
    kept.start()
    kept.client.patch("/_emulator/switches", json={"rows_per_s": 40_000.0})
    job = kept.create_job(SUPPLIER)
    kept.upload(job, lines(55_000))
    kept.set_state(job)
    while not 10_000 < kept.poll(job)["numberRecordsProcessed"] < 50_000:
        pass
    assert kept.stop(signal.SIGKILL) == -signal.SIGKILL
    kept.start()
    done = kept.wait_for(job)
    assert (done["state"], done["numberRecordsProcessed"], done["numberRecordsFailed"]) == ("JobComplete", 55_000, 0)
    assert kept.count(COUNT) == 55_000
    results = kept.result(job, "successfulResults").splitlines()[1:]
    assert len({line.split(",")[2] for line in results}) == len(results) == 55_000
    assert sum(',"true",' in line for line in results) == 55_000
    assert len(kept.client.get("/_emulator/history").json()) == 55_000
    assert kept.stop() == 0


def test_sigterm_in_the_middle_of_a_job_is_clean(kept: EmulatorProcess) -> None:
    """Exit code 0; the job is carried on by the next process."""
    kept.start()
    kept.client.patch("/_emulator/switches", json={"rows_per_s": 10_000.0})
    job = kept.create_job(SUPPLIER)
    kept.upload(job, lines(30_000))
    kept.set_state(job)
    while kept.poll(job)["numberRecordsProcessed"] < 5_000:
        pass
    assert kept.stop() == 0
    kept.start()
    assert kept.wait_for(job)["numberRecordsProcessed"] == 30_000
    assert kept.count(COUNT) == 30_000
    assert kept.stop() == 0


def failing(*options: str) -> str:
    """What a start that must not succeed prints."""
    command = [sys.executable, "-m", "kpc.emulators.salesforce", *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603  our own program
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_a_start_that_cannot_work_says_why(tmp_path: Path) -> None:
    """A port in use, a file that is no database, a switch that is not there, a rule that is no rule."""
    emulator = EmulatorProcess(tmp_path).start()
    port = emulator.ready["base_url"].rpartition(":")[2]
    assert "cannot listen on 127.0.0.1" in failing("--port", port)
    emulator.stop()
    wrong = tmp_path / "wrong.duckdb"
    wrong.write_text(json.dumps({"not": "a database"}) * 100)
    assert "cannot open its data file" in failing("--data-file", str(wrong))
    assert "There is no switch 'colour'" in failing("--switch", "colour=red")
    assert "Switch scale cannot be -1" in failing("--scale", "-1")
    assert "is not JSON" in failing("--fault", "{")
