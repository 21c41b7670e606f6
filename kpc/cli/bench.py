"""`kpc bench`: the cost of the migration on this machine, each figure beside its goal."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Annotated

import psutil  # type: ignore[import-untyped]
import typer

from kpc.bench.figures import Figure, are_all_met
from kpc.cli.arguments import AsJson
from kpc.cli.extras import require_extra
from kpc.cli.output import Exit, emit, explaining_errors, grid, say

app = typer.Typer(no_args_is_help=True, help="Measure speed and memory; exit code 1 if a goal is missed.")


def _machine() -> dict[str, object]:
    return {
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _tell(title: str, figures: Sequence[Figure], *, as_json: bool) -> None:
    """Print the figures; exit with 0, or with 1 if one misses its goal."""
    rows = [figure.as_row() for figure in figures]
    table = grid(title, ("figure", "value", "goal", "met"), rows)
    result = {"figures": [figure.as_dict() for figure in figures], "machine": _machine()}
    emit(result, as_json=as_json, text=table)
    raise typer.Exit(Exit.DONE if are_all_met(figures) else Exit.FAILED)


@app.command()
@explaining_errors
def extract(
    rows: Annotated[int, typer.Option(help="Rows per table; the goals apply to the default.")] = 1_000_000,
    as_json: AsJson = False,
) -> None:
    """Measure reading from Oracle: beside the bare driver and a plain script; memory; rows scanned."""
    require_extra("dev", "kpc bench extract")
    from kpc.bench.extract import measure_extract

    _report("kpc bench extract", measure_extract(rows=rows, say=say), as_json=as_json)


@app.command()
@explaining_errors
def stage(
    rows: Annotated[int, typer.Option(help="Rows of the frame; the goals apply to the default.")] = 500_000,
    as_json: AsJson = False,
) -> None:
    """Measure staging: beside pandas, DuckDB and encoding alone; the sort; memory."""
    require_extra("dev", "kpc bench stage")
    from kpc.bench.stage import measure_stage

    _report("kpc bench stage", measure_stage(rows=rows, say=say), as_json=as_json)


@app.command()
@explaining_errors
def load(
    rows: Annotated[int, typer.Option(help="Rows per client; the goals apply to the default.")] = 250_000,
    as_json: AsJson = False,
) -> None:
    """Measure loading: CPU beside other Python clients; memory; the emulator's speed with storage."""
    require_extra("dev", "kpc bench load")
    from kpc.bench.load import measure_load
    from kpc.bench.sample_load import load_sample, stage_sample

    _report("kpc bench load", measure_load(stage_sample, load_sample, rows=rows, say=say), as_json=as_json)
