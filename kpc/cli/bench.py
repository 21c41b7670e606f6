"""`kpc bench`: measure the migration on this machine and compare each figure with its goal."""

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
from kpc.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Measure against the emulators; exit code 1 when a goal is not met.")


def _machine() -> dict[str, object]:
    return {
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _report(
    title: str,
    figures: Sequence[Figure],
    *,
    as_json: bool,
    jobs: Sequence[dict[str, object]] = (),
    parts: Sequence[Sequence[str]] = (),
) -> None:
    """Print the figures and exit with 0, or with 1 if one misses its goal.

    `jobs` are printed with --json, `parts` without it; the first of the `parts` holds the column names.
    """
    rows = [figure.as_row() for figure in figures]
    table = grid(title, ("figure", "value", "goal", "met"), rows)
    if parts and not as_json:
        emit(None, as_json=False, text=grid("Each stage, in its own process", parts[0], parts[1:]))
    result: dict[str, object] = {"figures": [figure.as_dict() for figure in figures], "machine": _machine()}
    if jobs:
        result["jobs"] = list(jobs)
    emit(result, as_json=as_json, text=table)
    raise typer.Exit(Exit.DONE if are_all_met(figures) else Exit.FAILED)


@app.command()
@explaining_errors
def extract(
    rows: Annotated[int, typer.Option(help="Rows per table; the goals apply to the default.")] = 1_000_000,
    as_json: AsJson = False,
) -> None:
    """Measure extraction from Oracle: CPU and wall time against baselines, memory, rows scanned."""
    require_extra("dev", "kpc bench extract")
    from kpc.bench.extract import measure_extract

    _report("kpc bench extract", measure_extract(rows=rows, say=say), as_json=as_json)


@app.command()
@explaining_errors
def stage(
    rows: Annotated[int, typer.Option(help="Rows of the frame; the goals apply to the default.")] = 500_000,
    as_json: AsJson = False,
) -> None:
    """Measure staging: time against pandas, DuckDB and bare encoding, the sort, memory."""
    require_extra("dev", "kpc bench stage")
    from kpc.bench.stage import measure_stage

    _report("kpc bench stage", measure_stage(rows=rows, say=say), as_json=as_json)


@app.command()
@explaining_errors
def load(
    rows: Annotated[int, typer.Option(help="Rows per client; the goals apply to the default.")] = 250_000,
    only_queue: Annotated[bool, typer.Option("--only-queue", help="Measure only the polling of queued jobs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure loading into Salesforce: CPU compared with other Python clients, memory, polling of queued jobs."""
    require_extra("dev", "kpc bench load")
    from kpc.bench.load import measure_load
    from kpc.bench.queue import measure_queues
    from kpc.bench.queued_load import load_queue
    from kpc.bench.sample_load import load_sample, stage_sample

    figures = [] if only_queue else measure_load(stage_sample, load_sample, rows=rows, say=say)
    queues = measure_queues(stage_sample, load_queue, say=say)
    jobs = [end.as_json() for end in queues.ends]
    _report("kpc bench load", [*figures, *queues.figures], as_json=as_json, jobs=jobs)


@app.command()
@explaining_errors
def scale(
    rows: Annotated[
        list[int] | None, typer.Option(help="Rows of the child table, repeatable; default: 250,000, 1 and 4 million.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure all stages of a parent and a child table at several sizes: CPU per row, memory, growth."""
    require_extra("dev", "kpc bench scale")
    from kpc.bench.scale import SIZES, measure_scale

    sizes = tuple(rows or SIZES)
    if len(set(sizes)) < 2 or min(sizes) < 1_000:
        raise ConfigError("A slope needs two sizes of at least 1,000 rows.", "Give --rows twice, or not at all.")
    report = measure_scale(sizes=sizes, say=say)
    _report("kpc bench scale", report.figures, as_json=as_json, jobs=[one.as_json() for one in report.measured])


@app.command()
@explaining_errors
def reconcile(
    rows: Annotated[int, typer.Option(min=100_000, help="Lines of the largest comparison.")] = 10_000_000,
    as_json: AsJson = False,
) -> None:
    """Measure reconciliation in full: CPU compared with the former method, memory, planted differences found."""
    require_extra("dev", "kpc bench reconcile")
    from kpc.bench.reconcile import measure_reconcile

    _report("kpc bench reconcile", measure_reconcile(rows=rows, say=say), as_json=as_json)


@app.command()
@explaining_errors
def month(
    rows: Annotated[
        int, typer.Option(min=10_000, help="Sales lines; default: as many as in the largest month.")
    ] = 9_240_000,
    as_json: AsJson = False,
) -> None:
    """Measure all stages of a month of sales and their lines, reconciled in full: time, CPU, memory of each stage."""
    require_extra("dev", "kpc bench month")
    from kpc.bench.month import HEADER, measure_month

    report = measure_month(lines=rows, say=say)
    jobs = [one.as_json() for one in report.parts]
    _report("kpc bench month", report.figures(), as_json=as_json, jobs=jobs, parts=[HEADER, *report.rows()])


@app.command()
@explaining_errors
def airflow(
    executor: Annotated[
        list[str] | None, typer.Option(help="local or celery, repeatable; default: both, one after the other.")
    ] = None,
    partitions: Annotated[int, typer.Option(help="13 and a multiple of 3; the goals apply to the default.")] = 40,
    as_json: AsJson = False,
) -> None:
    """Measure what Airflow costs: CPU per partition on each executor, lost and duplicate runs, the DAG file."""
    require_extra("dev", "kpc bench airflow")
    from kpc.bench.airflow import measure_airflow
    from kpc.demo.airflow_config import TaskExecutor

    known = ", ".join(TaskExecutor)
    try:
        chosen = tuple(TaskExecutor(name) for name in executor or TaskExecutor)
    except ValueError:
        raise ConfigError("--executor names one that the demo lacks.", f"Choose from {known}.") from None
    figures, costs = measure_airflow(executors=chosen, partitions=partitions, say=say)
    _report("kpc bench airflow", figures, as_json=as_json, jobs=[cost.as_json() for cost in costs])


@app.command()
@explaining_errors
def slots(as_json: AsJson = False) -> None:
    """Measure how busy a campaign in Airflow keeps the ingest jobs of a slow org, and whether small tables wait."""
    require_extra("dev", "kpc bench slots")
    from kpc.bench.slots import measure_slots

    use = measure_slots(say=say)
    _report("kpc bench slots", tuple(use.figures()), as_json=as_json, jobs=use.as_json())
