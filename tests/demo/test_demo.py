"""The demo as people start it: a command that answers, and that leaves no process behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from rich.console import Console

from kpc.airflow_client.records import DagRun
from kpc.demo.campaign import Failure, Progress
from kpc.demo.run import DemoOptions, run_demo
from kpc.demo.screen import line, narrow_summary, summary_grid
from kpc.demo.summary import DemoSummary, summarize
from kpc.errors import ConfigError
from kpc.ledger import StageRun
from kpc.partition import Partition, find_partition
from kpc.processes import python_env
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, SF_LOADED, STAGED_CSV, STAGES, asset_name

NOW = datetime(2024, 2, 1, tzinfo=UTC)
COUNTS = ("partitions", "extracted", "staged", "unchanged", "rejected", "loaded", "failed")
FIELDS = ["table", *COUNTS, "level1", "level2", "level3", "state", "seconds", "records_per_s"]


def command(folder: Path, *options: str) -> list[str]:
    return [str(Path(sys.executable).with_name("kpc")), "demo", "--work-dir", str(folder), *options]


def processes_of(folder: Path) -> list[str]:
    """Command lines of the living processes that know the demo's folder by argument or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            known = [*process.cmdline(), *process.environ().values()]
            if process.pid != psutil.Process().pid and any(str(folder) in text for text in known):
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def wait_until_none(folder: Path, seconds: float = 30.0) -> list[str]:
    until = time.monotonic() + seconds
    while (left := processes_of(folder)) and time.monotonic() < until:
        time.sleep(0.2)
    return left


@pytest.mark.airflow
@pytest.mark.timeout(300)
def test_demo_moves_a_table_and_answers_with_one_object(tmp_path: Path) -> None:
    """`kpc demo --json` prints the promised object and nothing else on stdout, and ends all its servers."""
    options = ("--tables", "KPS_R_POS_SUPPLIER", "--rows", "2000", "--json", "--exit")
    done = subprocess.run(  # noqa: S603  ours
        command(tmp_path, *options), env=python_env(), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert set(answer) == {"ok", "seconds", "tables"}
    assert answer["ok"] is True
    (table,) = answer["tables"]
    assert list(table) == FIELDS
    assert (table["table"], table["state"], table["level1"], table["level3"]) == (
        "KPS_R_POS_SUPPLIER",
        "reconciled",
        "pass",
        "pass",
    )
    assert table["extracted"] == table["staged"] == table["loaded"] > 0
    assert "Asset graph" in done.stderr
    assert "The migration is signed off by" in done.stderr
    assert processes_of(tmp_path) == []
    assert not (tmp_path / "kpc.toml").exists()


@pytest.mark.airflow
@pytest.mark.timeout(200)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 130), (signal.SIGINT, 130)])
def test_an_ended_demo_leaves_no_process(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Killed or interrupted while Airflow comes up, the demo takes every process with it."""
    demo = subprocess.Popen(command(tmp_path, "--rows", "2000"), env=python_env(), stderr=subprocess.DEVNULL)  # noqa: S603  ours
    try:
        until = time.monotonic() + 120
        while not any("dags.start scheduler" in line for line in processes_of(tmp_path)):
            assert demo.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
        time.sleep(2)  # its children are being forked
        demo.send_signal(number)
        assert demo.wait(60) == code
    finally:
        demo.kill()
    assert wait_until_none(tmp_path) == []


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    """The second one is refused before it touches anything."""
    import fcntl

    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="Another demo is running"):
            run_demo(DemoOptions(work_dir=tmp_path))


def test_a_chosen_table_needs_its_parent(tmp_path: Path) -> None:
    """Lines without their headers could never be loaded; the demo says so instead of waiting."""
    with pytest.raises(ConfigError, match="KPS_T_SALES_MD needs its parent KPS_T_SALES_M"):
        run_demo(DemoOptions(tables=("KPS_T_SALES_MD",), work_dir=tmp_path))


def run_of(partition: Partition, stage: str, state: str) -> DagRun:
    return DagRun(asset_name(partition.table, stage), "r", partition.key, state, NOW, NOW, NOW)


def booked(partition: Partition, stage: str, state: str = "done", rows: int = 10, **detail: object) -> StageRun:
    start = NOW + timedelta(seconds=10 * STAGES.index(stage))
    names = ("ora", "00D", partition.table.name, partition.key, stage, "G", "M", "r", "test", "incremental")
    return StageRun(1, *names, state, rows, 100, dict(detail), None, start, start + timedelta(seconds=5))


def through(progress: Progress, partition: Partition, *, state: str = "reconciled", level3: str = "pass") -> None:
    """Let a partition pass all four stages."""
    for stage in STAGES:
        progress.runs[partition, stage] = run_of(partition, stage, "success")
    rows = {
        ORACLE_EXTRACT: booked(partition, ORACLE_EXTRACT),
        STAGED_CSV: booked(partition, STAGED_CSV, staged=9, unchanged=0, rejected=1),
        SF_LOADED: booked(partition, SF_LOADED, loaded=9, failed=0),
        RECONCILED: booked(partition, RECONCILED, state, level1="pass", level2="pass", level3=level3),
    }
    progress.stages.update({(partition, stage): row for stage, row in rows.items()})


HEADERS = find_partition("KPS_T_SALES_M", "2024-01")
LINES = find_partition("KPS_T_SALES_MD", "2024-01")


def test_the_campaign_ends_when_a_child_is_blocked() -> None:
    """When headers fail, their lines wait for ever; the campaign is over nevertheless and says which is which."""
    progress = Progress((HEADERS, LINES))
    assert not progress.is_over
    progress.failures[HEADERS, STAGED_CSV] = Failure("the disk is full", "page")
    assert progress.is_blocked(LINES)
    assert progress.is_over
    summary = summarize(progress, 10)
    assert [table.state for table in summary.tables] == ["failed", "waiting"]
    assert summary.exit_code == 1


def test_a_loaded_parent_that_fails_later_does_not_stop_its_child() -> None:
    """Once the headers are loaded, their mismatch is their own affair."""
    progress = Progress((HEADERS, LINES))
    progress.runs[HEADERS, SF_LOADED] = run_of(HEADERS, SF_LOADED, "success")
    progress.failures[HEADERS, RECONCILED] = Failure("differs", "page")
    assert not progress.is_blocked(LINES)
    assert not progress.is_over


@pytest.mark.parametrize(
    ("state", "level3", "code"),
    [("reconciled", "pass", 0), ("reconciled_with_exceptions", "pass", 3), ("reconciled", "skipped", 0)],
)
def test_exit_code_follows_the_reconciliation(state: str, level3: str, code: int) -> None:
    """0 only if everything is reconciled, 3 with exceptions; the object holds sums over the partitions."""
    progress = Progress((HEADERS, find_partition("KPS_T_SALES_M", "2024-02")))
    through(progress, progress.partitions[0])
    through(progress, progress.partitions[1], state=state, level3=level3)
    summary = summarize(progress, 40.0)
    (table,) = summary.tables
    assert summary.exit_code == code
    assert (table.partitions, table.extracted, table.staged, table.rejected, table.loaded) == (2, 20, 18, 2, 18)
    assert (table.level1, table.level3, table.state) == ("pass", level3, state)
    assert (table.seconds, table.records_per_s) == (35.0, 0.6)


def test_a_mismatch_is_called_so() -> None:
    """A partition whose numbers differ is a mismatch, not just a failed task."""
    progress = Progress((HEADERS,))
    through(progress, HEADERS, state="mismatch")
    progress.runs[HEADERS, RECONCILED] = run_of(HEADERS, RECONCILED, "failed")
    progress.failures[HEADERS, RECONCILED] = Failure("differs", "page")
    summary = summarize(progress, 10)
    assert (summary.tables[0].state, summary.exit_code) == ("mismatch", 1)


def test_progress_reads_in_one_line() -> None:
    """Not on a terminal, a line says how far every stage is and how fast records arrive."""
    progress = Progress((HEADERS, LINES), elapsed_s=5.0)
    through(progress, HEADERS)
    assert line(progress) == (
        "partitions: extracted 1/2, staged 1/2, loaded 1/2, reconciled 1/2; 10 records loaded in 5 s (2 records/s)"
    )


def test_the_summary_fits_a_narrow_terminal() -> None:
    """In 80 columns no name and no number is cut."""
    progress = Progress((find_partition("KPS_T_SALES_APPRV_DETAIL", "ALL"),))
    through(progress, progress.partitions[0], state="reconciled_with_exceptions", level3="skipped")
    console = Console(width=80, file=StringIO())
    console.print(narrow_summary(summarize(progress, 35.0)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "KPS_T_SALES_APPRV_DETAIL" in text
    assert "+ + -" in text
    assert "exceptions" in text
    assert "…" not in text


def test_summary_of_nothing_can_be_shown() -> None:
    """An empty campaign has an empty table."""
    assert summary_grid(DemoSummary(0.0, ())).row_count == 1


def test_a_repeat_that_sends_again_is_a_failure() -> None:
    """However well the tables are reconciled: what was promised to be free was not."""
    spent = DemoSummary(1.0, (), is_repeat_free=False)
    assert (DemoSummary(1.0, ()).exit_code, spent.exit_code, spent.as_json()["ok"]) == (0, 1, False)
