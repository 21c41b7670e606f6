"""`kpc bench stage`: cost of staging, compared with pandas, DuckDB and the minimum work (encode and deflate)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from kpc.bench.baselines.csv_writers import write_with_duckdb, write_with_pandas
from kpc.bench.figures import Figure, rounded
from kpc.bench.processes import Cost, run_function
from kpc.bench.rounds import Costs, ratio, take_turns, wall_s
from kpc.bench.stage_frames import write_extract, write_reference
from kpc.bench.staging import (
    GENERATION,
    copy_reference,
    extract_folder,
    floor_of_chunks,
    floor_of_reference,
    sort_alone,
    stage,
)

_ROUNDS = 3
_LARGE = 16  # times the rows of the small partition: more than the largest month
_MEMORY_MB = "<= 500"


def measure_stage(*, rows: int, say: Callable[[str], None]) -> list[Figure]:
    """All figures of staging, for frames and a partition of `rows` rows, and for one `_LARGE` times as large."""
    with TemporaryDirectory(prefix="kpc-bench-") as place:
        folder = Path(place)
        say(f"Plain copying of {rows:,} rows x 24 columns, {_ROUNDS} rounds ...")
        copying = _copying(_copy_costs(folder, rows, say))
        say(f"Staging {rows:,} rows of KPS_T_SALES_MD, {_ROUNDS} rounds ...")
        costs = _stage_costs(folder / "small", rows, say)
        say(f"Staging {_LARGE * rows:,} rows, for its memory ...")
        large = _staged_once(folder / "large", _LARGE * rows)
        return [*copying, *_staging(costs), *_memory({rows: costs["stage"], _LARGE * rows: [large]})]


def _copy_costs(folder: Path, rows: int, say: Callable[[str], None]) -> Costs:
    source = folder / "reference.parquet"
    run_function(write_reference_file, {"path": str(source), "rows": rows})
    given = {"source": str(source), "folder": str(folder)}
    contestants = {
        "kpc": _timed(copy_reference, given),
        "encode and deflate alone": _timed(floor_of_reference, {"source": str(source)}),
        "pandas": _timed(write_with_pandas, given),
        "duckdb": _timed(write_with_duckdb, given),
    }
    return take_turns(contestants, _ROUNDS, say)


def _stage_costs(root: Path, rows: int, say: Callable[[str], None]) -> Costs:
    first = _staged_once(root, rows)  # the floor needs its chunks
    say(f"  warmed up: {first.wall_s:.2f} s")
    given = {"root": str(root)}
    contestants = {
        "stage": _timed(stage, given),
        "encode and deflate alone": _timed(floor_of_chunks, given),
        "sort": _timed(sort_alone, given),
    }
    return take_turns(contestants, _ROUNDS, say)


def _staged_once(root: Path, rows: int) -> Cost:
    run_function(write_extract_files, {"root": str(root), "rows": rows})
    return _timed(stage, {"root": str(root)})()


def _timed(function: Callable[..., float], given: Mapping[str, object]) -> Callable[[], Cost]:
    """A contestant that returns its own measured seconds, which exclude loading the input."""

    def run() -> Cost:
        cost = run_function(function, given)
        return replace(cost, wall_s=cost.answer)

    return run


def _copying(costs: Costs) -> list[Figure]:
    ours = costs["kpc"]
    floor = ratio(ours, costs["encode and deflate alone"], wall_s)
    return [
        Figure("pandas to_csv(gzip), times our time", rounded(ratio(costs["pandas"], ours, wall_s)), ">= 20"),
        Figure("DuckDB COPY (gzip), times our time", rounded(ratio(costs["duckdb"], ours, wall_s)), ">= 10"),
        Figure("plain copying, times encode and deflate alone", rounded(floor), "<= 1.3"),
    ]


def _staging(costs: Costs) -> list[Figure]:
    """The sort, measured alone, and staging minus the sort; both as multiples of encode and deflate alone."""
    rounds = list(zip(costs["stage"], costs["sort"], costs["encode and deflate alone"], strict=True))
    without = median((whole.wall_s - sort.wall_s) / floor.wall_s for whole, sort, floor in rounds)
    sort = ratio(costs["sort"], costs["encode and deflate alone"], wall_s)
    return [
        Figure("staging without the sort, times encode and deflate alone", rounded(without), "<= 2.5"),
        Figure("the sort, times encode and deflate alone", rounded(sort), "<= 1"),
    ]


def _memory(peaks: Mapping[int, list[Cost]]) -> list[Figure]:
    return [
        Figure(
            f"peak memory of staging {rows:,} rows, MB",
            rounded(max(cost.peak_bytes for cost in costs) / 1e6),
            _MEMORY_MB,
        )
        for rows, costs in peaks.items()
    ]


def write_reference_file(path: str, rows: int) -> None:
    """Called in a separate process, so that its memory is released."""
    write_reference(Path(path), rows)


def write_extract_files(root: str, rows: int) -> None:
    """Called in a separate process, so that its memory is released."""
    write_extract(extract_folder(Path(root)), rows, GENERATION)
