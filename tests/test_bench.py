"""The benches: figures judged by their goals, honest costs, and nothing left running."""

from __future__ import annotations

import sys
import time

import psutil
import pytest

from kpc.bench.figures import Figure, are_all_met
from kpc.bench.processes import Cost, run_command, run_function
from kpc.bench.rounds import cpu_s, ratio, take_turns
from kpc.errors import Terminal

BLOCK_BYTES = 200_000_000


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
    with pytest.raises(ValueError, match="is no goal"):
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
    with pytest.raises(Terminal, match="as the test wants it"):
        run_function(fail, {})
    with pytest.raises(Terminal, match="not done after"):
        run_function(work, {"seconds": 60}, timeout_s=0.5)
    assert not psutil.Process().children(recursive=True)


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
