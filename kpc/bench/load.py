"""`kpc bench load`: client cost of loading into Salesforce, ours and others', and the emulator's throughput.

All clients send the same rows to the same emulator in sink mode, which parses and counts rows but stores none. Ours
does what an ingest task does: checks, intents, upload, polling, and with results also their bookkeeping.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil  # type: ignore[import-untyped]

from kpc.bench.baselines import aio_upsert, simple_upsert
from kpc.bench.figures import Figure, Say, rounded
from kpc.bench.processes import Cost, run_function
from kpc.bench.rounds import Costs, cpu_s, ratio, take_turns, wall_s
from kpc.catalog import find_table
from kpc.catalog.types import EXTERNAL_ID
from kpc.processes import Keeper

Stage = Callable[..., str]
Load = Callable[..., int]

SENT = "KPS_T_SALES_MD"  # the largest table
STORED = "KPS_T_SALES_M"
OURS, SIMPLE, AIO = "ours", "simple-salesforce", "aiosalesforce"
_ROUNDS = 3
_READY_S = 60.0
_MB = 1_000_000
_TIMEOUT_S = 400.0


def measure_load(stage: Stage, load: Load, *, rows: int, say: Say) -> list[Figure]:
    """All figures of the load. `stage` and `load` stage and load a partition of generated rows (see `sample_load`)."""
    with TemporaryDirectory(prefix="kpc-bench-") as folder:
        return [*_measure_clients(stage, load, rows, folder, say), *_measure_storage(stage, load, rows, folder, say)]


def _measure_clients(stage: Stage, load: Load, rows: int, folder: str, say: Say) -> list[Figure]:
    target = find_table(SENT).target
    numbers = iter(range(1000))
    with emulator(Path(folder, "sink"), sink="true") as org:
        say(f"Clients, {rows:,} rows of {len(find_table(SENT).header)} columns to an emulator in sink mode ...")
        first = str(Path(folder, "rows"))
        csv_file = str(run_function(stage, _sample(first, org, rows)).answer)

        def ours(*, with_results: bool) -> Cost:
            place = str(
                Path(folder, f"ours-{next(numbers)}")
            )  # a new ledger, because an existing one would prevent sending again
            run_function(stage, _sample(place, org, rows))
            wanted = {"folder": place, "org": org, "table": SENT, "with_results": with_results}
            return _checked(run_function(load, wanted, timeout_s=_TIMEOUT_S), rows)

        def simple(*, with_results: bool) -> Cost:
            wanted = {"base_url": org["base_url"], "token": org["access_token"], "with_results": with_results}
            return _checked(_upsert(simple_upsert.upsert_file, wanted, target, csv_file), rows)

        def aio() -> Cost:
            wanted = {"base_url": org["base_url"], "login": org}
            return _checked(_upsert(aio_upsert.upsert_file, wanted, target, csv_file), rows)

        contestants = {
            OURS: partial(ours, with_results=False),
            SIMPLE: partial(simple, with_results=False),
            f"{OURS}, results": partial(ours, with_results=True),
            f"{SIMPLE}, results": partial(simple, with_results=True),
        }
        costs = take_turns(contestants, _ROUNDS, say)
        costs |= take_turns({AIO: aio}, 1, say)
    walls = [f"{name} {median(map(wall_s, each)):.1f} s" for name, each in costs.items()]
    say(f"  wall time: {'; '.join(walls)}")
    return list(_client_figures(costs, rows / 1_000_000))


def _client_figures(costs: Costs, million: float) -> Iterator[Figure]:
    sending, whole = costs[OURS], costs[f"{OURS}, results"]
    simple_ratio = ratio(sending, costs[SIMPLE], cpu_s)
    whole_ratio = ratio(whole, costs[f"{SIMPLE}, results"], cpu_s)
    aio_ratio = median(map(cpu_s, whole)) / median(map(cpu_s, costs[AIO]))
    yield Figure(f"client CPU, upsert and follow, ours / {SIMPLE}", rounded(simple_ratio), "<= 0.2")
    yield Figure(f"client CPU, with results of each row, ours / {SIMPLE}", rounded(whole_ratio), "<= 0.2")
    yield Figure(f"client CPU, with results of each row, ours / {AIO}", rounded(aio_ratio), "<= 0.5")
    cost_s = median(map(cpu_s, whole)) / million
    yield Figure("client CPU seconds per million rows, results included", rounded(cost_s), "<= 10")
    yield Figure("client peak memory in MB", rounded(max(cost.peak_bytes for cost in whole) / _MB), "<= 200")


def _measure_storage(stage: Stage, load: Load, rows: int, folder: str, say: Say) -> list[Figure]:
    with emulator(Path(folder, "storage")) as org:
        say(f"Emulator, {rows:,} rows of {len(find_table(STORED).header)} columns with storage ...")
        place = str(Path(folder, "stored"))
        run_function(stage, {"folder": place, "org": org, "table": STORED, "rows": rows})
        server = psutil.Process(int(org["pid"]))
        before = _cpu_s(server)
        _checked(run_function(load, {"folder": place, "org": org, "table": STORED}, timeout_s=_TIMEOUT_S), rows)
        spent_s = _cpu_s(server) - before
    return [Figure("emulator with storage, rows/s on one core", rounded(rows / spent_s), ">= 50,000")]


def _sample(folder: str, org: Mapping[str, str], rows: int) -> dict[str, object]:
    return {"folder": folder, "org": dict(org), "table": SENT, "rows": rows}


def _upsert(function: Callable[..., int], login: Mapping[str, object], target: str, csv_file: str) -> Cost:
    wanted = {**login, "object_name": target, "key": EXTERNAL_ID, "csv_file": csv_file}
    return run_function(function, wanted, timeout_s=_TIMEOUT_S)


def _checked(cost: Cost, rows: int) -> Cost:
    if cost.answer != rows:
        raise AssertionError(f"{cost.answer} of {rows} rows arrived")
    return cost


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def emulator(
    folder: Path, *, workers: int = 4, data_file: Path | None = None, **switches: str
) -> Iterator[dict[str, str]]:
    """Start a Salesforce emulator that works on `workers` jobs at once; yields the content of its ready file."""
    folder.mkdir(parents=True)
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "kpc.emulators.salesforce", "--port", "0", "--ready-file", str(ready)]
    command += ["--workers", str(workers)]
    command += ["--data-file", str(data_file)] if data_file else []
    command += [part for name, value in switches.items() for part in ("--switch", f"{name}={value}")]
    with Keeper() as keeper:
        server = keeper.start("Salesforce emulator", command, log=folder / "emulator.log")
        keeper.wait_for(server, ready.exists, timeout_s=_READY_S)
        yield {name: str(value) for name, value in json.loads(ready.read_text(encoding="utf-8")).items()}
