"""The benches: figures judged by their goals, honest costs, and nothing left running."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from kpc.bench.figures import Figure, are_all_met
from kpc.bench.month import HEADER, measure_month
from kpc.bench.processes import Cost, run_command, run_function
from kpc.bench.queue import Queue, measure_queues
from kpc.bench.queued_load import load_queue
from kpc.bench.rounds import cpu_s, ratio, take_turns
from kpc.bench.sample_load import stage_sample
from kpc.bench.scale import CHILD, PARENT, RUNS, measure_scale
from kpc.errors import Terminal
from kpc.ledger.states import StageState
from kpc.stages.names import ORACLE_EXTRACT

BLOCK_BYTES = 200_000_000
SMALL_ROWS = 12_340


def work(seconds: float, block_bytes: int = 0) -> int:
    """Runs in a measured process: busy for so many CPU seconds, with so much memory held at once."""
    size = len(b"x" * block_bytes)
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return size


def fail() -> None:
    raise ValueError("as the test wants it")


@pytest.mark.parametrize(
    ("value", "goal", "is_met"),
    [
        (1.8, "<= 1.8", True),
        (1.81, "<= 1.8", False),
        (299_999, ">= 300,000", False),
        (300_000, ">= 300,000", True),
        (10, "> 10", False),
        (float("nan"), "<= 1.8", False),
    ],
)
def test_a_figure_is_judged_by_its_goal(value: float, goal: str, *, is_met: bool) -> None:
    """`ok` follows from value and goal, and one goal that is not met fails the whole bench."""
    figure = Figure("x", value, goal)
    assert figure.as_dict() == {"name": "x", "value": value, "goal": goal, "ok": is_met}
    assert are_all_met([Figure("y", 1, "> 0"), figure]) is is_met


def test_a_goal_that_cannot_be_compared_is_refused() -> None:
    """A figure without a goal would always be fine; so would a bench without figures."""
    with pytest.raises(ValueError, match="is not a goal"):
        Figure("x", 1, "small")
    assert not are_all_met([])


def test_a_function_is_charged_for_its_own_work() -> None:
    """CPU, memory and answer are those of the call, not of this process."""
    idle = run_function(work, {"seconds": 0})
    busy = run_function(work, {"seconds": 0.3, "block_bytes": BLOCK_BYTES})
    assert busy.answer == BLOCK_BYTES
    assert idle.cpu_s < 0.1
    assert 0.3 <= busy.cpu_s < 1
    assert 0.9 * BLOCK_BYTES < busy.peak_bytes - idle.peak_bytes < 1.1 * BLOCK_BYTES


def test_a_command_is_charged_whole() -> None:
    """CPU and memory of another program, its own children's included."""
    cost = run_command([sys.executable, "-c", f"x = b'x' * {BLOCK_BYTES}; [i * i for i in range(3_000_000)]"])
    assert cost.cpu_s > 0.05
    assert cost.peak_bytes > BLOCK_BYTES


def test_a_measurement_that_fails_says_why_and_leaves_nothing() -> None:
    """The error carries the failed process's own words, and no process remains."""
    before = psutil.Process().children(recursive=True)
    with pytest.raises(Terminal, match="as the test wants it"):
        run_function(fail, {})
    with pytest.raises(Terminal, match="not done after"):
        run_function(work, {"seconds": 60}, timeout_s=0.5)
    assert set(psutil.Process().children(recursive=True)) <= set(before)


def test_contestants_are_compared_round_by_round() -> None:
    """The order turns every round, and one disturbed round does not decide."""
    seen: list[str] = []
    lines: list[str] = []
    seconds = iter([1.0, 2.0, 2.0, 1.0, 1.0, 90.0])

    def contestant(name: str) -> Cost:
        seen.append(name)
        return Cost(1.0, next(seconds), 0)

    costs = take_turns({"a": lambda: contestant("a"), "b": lambda: contestant("b")}, 3, lines.append)
    assert seen == ["a", "b", "b", "a", "a", "b"]
    assert len(lines) == 6
    assert ratio(costs["b"], costs["a"], cpu_s) == 2.0


@pytest.fixture(scope="module")
def small_bench() -> subprocess.CompletedProcess[str]:
    """`kpc bench extract` with few rows: every step is taken, but its figures are not those that the goals are for."""
    kpc = Path(sys.executable).with_name("kpc")
    command = [str(kpc), "bench", "extract", "--rows", str(SMALL_ROWS), "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)  # noqa: S603  our own program


def test_every_figure_of_the_extract_bench_has_a_goal(small_bench: subprocess.CompletedProcess[str]) -> None:
    """One JSON object on stdout; `ok` of each figure and the exit code follow from the values."""
    answer = json.loads(small_bench.stdout)
    figures = answer["figures"]
    assert all(set(figure) == {"name", "value", "goal", "ok"} for figure in figures)
    judged = [Figure(figure["name"], figure["value"], figure["goal"]) for figure in figures]
    assert [figure.ok for figure in judged] == [figure["ok"] for figure in figures]
    assert small_bench.returncode == (0 if are_all_met(judged) else 1)
    assert len({figure.name for figure in judged}) == len(judged)
    assert all(figure.value > 0 for figure in judged)


def test_ranges_scan_what_they_extract_and_pages_all_of_it_again(
    small_bench: subprocess.CompletedProcess[str],
) -> None:
    """What the server has to read does not depend on the tables' size, so the small bench shows it exactly."""
    figures = {figure["name"]: figure for figure in json.loads(small_bench.stdout)["figures"]}
    scans = {name: figure for name, figure in figures.items() if name.startswith("rows scanned")}
    assert len(scans) == 6
    assert all(figure["ok"] for figure in scans.values())


def test_a_bench_leaves_no_process(small_bench: subprocess.CompletedProcess[str]) -> None:
    """Emulator and measured processes have ended when the command has."""
    assert "Scans of BENCH_MIXED" in small_bench.stderr
    left = [
        each.info["cmdline"]
        for each in psutil.process_iter(["cmdline"])
        if f"--rows {SMALL_ROWS * 11 // 10}" in " ".join(each.info["cmdline"] or [])
    ]
    assert left == []


def test_a_killed_bench_leaves_no_process() -> None:
    """SIGKILL in the middle: the keeper ends what the bench had started."""
    kpc = Path(sys.executable).with_name("kpc")
    bench = subprocess.Popen([str(kpc), "bench", "extract", "--rows", "4000"], stderr=subprocess.DEVNULL)  # noqa: S603
    started: list[psutil.Process] = []
    until = time.monotonic() + 60
    while not any("kpc.emulators.oracle" in " ".join(each.cmdline()) for each in started):
        assert time.monotonic() < until, "the emulator was never started"
        time.sleep(0.1)
        started = psutil.Process(bench.pid).children(recursive=True)
    bench.kill()
    bench.wait(10)
    _, alive = psutil.wait_procs(started, timeout=20)
    assert alive == []


def test_the_queue_bench_measures_each_job() -> None:
    """Six jobs of two seconds, two at once: its figures follow from the org's own times, and each job is listed."""
    lines: list[str] = []
    few = Queue("6 jobs", 6, 200, 100.0, at_work=2, in_flight=6)
    report = measure_queues(stage_sample, load_queue, say=lines.append, queues=[few])
    assert len(report.ends) == len({end.job_id for end in report.ends}) == 6
    assert all(2 <= end.working_s < 4 and end.delay_s >= 0 for end in report.ends)
    assert max(end.queued_s for end in report.ends) >= 3
    assert [figure.goal for figure in report.figures] == ["<= 1", "<= 15", "<= 1.15"]
    assert [figure.ok for figure in report.figures[:2]] == [True, True]
    assert sum(end.calls for end in report.ends) <= report.figures[1].value * 6
    assert len(lines) == 7


def test_the_scale_bench_takes_both_tables_through_all_stages() -> None:
    """Every part is measured at every size, and a part's slope is judged; rows are those that the emulator seeded."""
    lines: list[str] = []
    report = measure_scale(sizes=(2_000, 4_000), say=lines.append)
    assert {(one.table, one.part) for one in report.measured} == {(t, p) for t in (PARENT, CHILD) for p in RUNS}
    assert len(report.measured) == 2 * 2 * len(RUNS)
    for table in (PARENT, CHILD):
        of_table = [one for one in report.measured if one.table == table]
        rows_of = {part: [one.rows for one in of_table if one.part == part] for part in RUNS}
        assert len({tuple(rows) for rows in rows_of.values()}) == 1, "each stage sees every row"
    assert len(report.figures) == 2 * len(RUNS) + 3
    assert any("sf_loaded, bookkeeping" in line for line in lines)


def test_the_month_bench_reconciles_both_tables_in_full() -> None:
    """A small month goes all the way side by side: each stage is listed once, and both verdicts are of every record."""
    lines: list[str] = []
    report = measure_month(lines=3_000, say=lines.append)
    assert [(one.table, one.part) for one in report.parts] == [(t, p) for t in (PARENT, CHILD) for p in RUNS]
    assert set(report.verdicts.values()) <= {StageState.RECONCILED, StageState.RECONCILED_WITH_EXCEPTIONS}
    assert report.records == sum(one.rows for one in report.parts if one.part == ORACLE_EXTRACT)
    reconciled, memory, pace = report.figures()
    assert (reconciled.value, reconciled.goal) == (2, ">= 2")
    assert memory.ok
    assert pace.value == pytest.approx(report.records / report.wall_s, rel=0.01)
    assert [len(row) for row in report.rows()] == [len(HEADER)] * len(report.parts)
