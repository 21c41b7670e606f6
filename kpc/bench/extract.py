"""`kpc bench extract`: cost of reading from Oracle, compared with the driver alone and with a plain script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from kpc.bench import extraction
from kpc.bench.figures import Figure, Say, rounded
from kpc.bench.oracle_emulator import Emulator, started_emulator
from kpc.bench.oracle_tables import (
    FRAME,
    LINES_LARGE,
    LINES_SMALL,
    MONTH,
    create_frame,
    create_lines,
    create_mixed,
)
from kpc.bench.processes import Cost, run_function
from kpc.bench.rounds import cpu_s, ratio, take_turns, wall_s
from kpc.bench.scans import measure_scans

_ROUNDS = 7
_MEMORY_ROUNDS = 2  # the smaller peak of each counts, because what the allocators retain varies from run to run
_SCRIPT_ROUNDS = 1  # takes ten times as long as everything else, and CPU seconds vary little
_CHUNKS = 4
_MB = 1_000_000


def measure_extract(*, rows: int, say: Say) -> list[Figure]:
    """All figures of extraction: speed and scans with `rows` rows, memory with half and with five times as many."""
    with TemporaryDirectory(prefix="kpc-bench-") as folder, started_emulator(rows + rows // 10, MONTH) as emulator:
        say(f"Making tables of {rows:,} and {5 * rows:,} rows in the emulator ...")
        create_frame(emulator, rows)
        create_mixed(emulator)
        create_lines(emulator, rows // 2)
        return [
            *_measure_speed(emulator, rows, folder, say),
            *_measure_memory(emulator, rows, folder, say),
            *measure_scans(emulator, rows, folder, say),
        ]


def _measure_speed(emulator: Emulator, rows: int, folder: str, say: Say) -> list[Figure]:
    """The pipeline against the bare driver, alternating; then the script, and the server's CPU time for a drain."""
    place = {"login": emulator.login, "table": FRAME.name}
    plan = run_function(extraction.plan_of, {**place, "chunk_rows": -(-rows // _CHUNKS)}).answer
    files = str(Path(folder, "speed"))
    server_cpu_s: list[float] = []

    def drain() -> Cost:
        before = emulator.cpu_s()
        cost = run_function(extraction.drain_chunks, {**place, "plan": plan})
        server_cpu_s.append(emulator.cpu_s() - before)
        return cost

    def extract() -> Cost:
        return run_function(extraction.extract_chunks, {**place, "plan": plan, "folder": files})

    def script() -> Cost:
        return run_function(extraction.export_partition, {**place, "plan": plan, "folder": folder})

    say(f"Speed, {rows:,} rows of {len(FRAME.columns)} columns ...")
    costs = take_turns({"drain": drain, "extract": extract}, _ROUNDS, say)
    costs |= take_turns({"script": script}, _SCRIPT_ROUNDS, say)
    script_ratio = median(map(cpu_s, costs["script"])) / median(map(cpu_s, costs["extract"]))
    return [
        Figure("CPU, extract to Parquet / draining", rounded(ratio(costs["extract"], costs["drain"], cpu_s)), "<= 1.8"),
        Figure(
            "wall, extract to Parquet / draining", rounded(ratio(costs["extract"], costs["drain"], wall_s)), "<= 1.3"
        ),
        Figure("CPU, cursor and csv and gzip script / extract", rounded(script_ratio), ">= 6"),
        Figure("emulator, rows/s of 20 columns per core", rounded(rows / median(server_cpu_s)), ">= 300,000"),
    ]


def _measure_memory(emulator: Emulator, rows: int, folder: str, say: Say) -> list[Figure]:
    """A worker's peak memory for a small and a large partition: four sessions each, different chunk sizes."""
    small_rows, large_rows = rows // 2, rows * 5
    say(f"Memory, partitions of {small_rows:,} and {large_rows:,} rows of {len(LINES_LARGE.columns)} columns ...")

    def worker(table: str, chunk_rows: int) -> Callable[[], Cost]:
        wanted = {"login": emulator.login, "table": table, "chunk_rows": chunk_rows, "folder": str(Path(folder, table))}
        return lambda: run_function(extraction.extract_partition, wanted, timeout_s=600)

    workers = {
        f"{small_rows:,} rows": worker(LINES_SMALL.name, -(-small_rows // _CHUNKS)),
        f"{large_rows:,} rows": worker(LINES_LARGE.name, small_rows),
    }
    turns = take_turns(workers, _MEMORY_ROUNDS, say).values()
    small, large = (min(cost.peak_bytes for cost in costs) for costs in turns)
    return [
        Figure(f"peak memory of a worker in MB, {large_rows:,} rows", rounded(large / _MB), "<= 400"),
        Figure(
            f"peak memory, {large_rows:,} rows / {small_rows:,} rows, four sessions each",
            rounded(large / small),
            "<= 1.1",
        ),
    ]
