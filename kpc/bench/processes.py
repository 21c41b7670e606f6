"""Measure the cost of a function or command, run alone in a new process.

    bench --spec.json--> python -m kpc.bench.processes spec.json --outcome.json--> bench

The measured process reports on itself: wall and CPU seconds cover the call, without Python's start and the imports;
peak memory covers the whole process. For a command, everything is counted.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kpc.errors import Terminal
from kpc.processes import Keeper, python_env

_POLL_S = 0.05
_KIB = 1024
TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Cost:
    """`cpu_s` is user and system time, including ended children. `answer` is the function's return value."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    answer: Any = None


def run_function(
    function: Callable[..., object], arguments: Mapping[str, object], *, timeout_s: float = TIMEOUT_S
) -> Cost:
    """Call a module's function by name; its keyword arguments and return value must be JSON-serializable.

    Raises `Terminal` with the last lines of its output if it fails or takes longer than `timeout_s`.
    """
    name = f"{function.__module__}:{function.__qualname__}"
    return _measure(name, {"function": name, "arguments": dict(arguments)}, timeout_s)


def run_command(command: Sequence[str | Path], *, timeout_s: float = TIMEOUT_S) -> Cost:
    """Run a program until it exits with code 0. Raises as `run_function` does."""
    words = [str(part) for part in command]
    return _measure(Path(words[0]).name, {"command": words}, timeout_s)


def _measure(name: str, wanted: Mapping[str, object], timeout_s: float) -> Cost:
    with TemporaryDirectory(prefix="kpc-bench-") as place, Keeper() as keeper:
        spec, outcome = Path(place, "spec.json"), Path(place, "outcome.json")
        spec.write_text(json.dumps({**wanted, "outcome": str(outcome)}), encoding="utf-8")
        env = {
            **python_env(),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }  # so that it finds the same modules as this process
        command = [sys.executable, "-m", "kpc.bench.processes", str(spec)]
        process = keeper.start(name, command, log=Path(place, "log"), env=env)
        until = time.monotonic() + timeout_s
        while (code := keeper.exit_code(process)) is None:
            if time.monotonic() > until:
                raise Terminal(f"{name} was not done after {timeout_s:.0f} s.", "Repeat on a less busy machine.")
            time.sleep(_POLL_S)
        if code != 0:
            raise Terminal(
                f"{name} ended with code {code}. Its last lines:\n{process.tail()}", "Fix the reported error."
            )
        return Cost(**json.loads(outcome.read_text(encoding="utf-8")))


def _cpu_s() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in spent)


def _own_peak_bytes() -> int:
    """Peak memory of this program.

    Linux reports it per program (VmHWM); `ru_maxrss` also includes the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * _KIB
    unit = 1 if sys.platform == "darwin" else _KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _call(spec: Mapping[str, Any]) -> Cost:
    module, _, name = spec["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    cpu_s, began = _cpu_s(), time.monotonic()
    answer = function(**spec["arguments"])
    wall_s = time.monotonic() - began
    return Cost(wall_s, _cpu_s() - cpu_s, _own_peak_bytes(), answer)


def _run(spec: Mapping[str, Any]) -> Cost:
    cpu_s, began = _cpu_s(), time.monotonic()
    subprocess.run(spec["command"], check=True, stdin=subprocess.DEVNULL)  # noqa: S603  the bench chose the command
    wall_s = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else _KIB)
    return Cost(wall_s, _cpu_s() - cpu_s, peak)


def main(spec_file: str) -> int:
    """Entry point of the measured process. Returns 1 if the function or command failed."""
    spec = json.loads(Path(spec_file).read_text(encoding="utf-8"))
    try:
        cost = _call(spec) if "function" in spec else _run(spec)
    except Exception:  # noqa: BLE001  the parent process reads any error in the log
        traceback.print_exc()
        return 1
    facts = {"wall_s": cost.wall_s, "cpu_s": cost.cpu_s, "peak_bytes": cost.peak_bytes, "answer": cost.answer}
    Path(spec["outcome"]).write_text(json.dumps(facts), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
