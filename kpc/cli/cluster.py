"""`kpc cluster`: an Airflow on Celery on this machine, and failure exercises with it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kpc.cli.arguments import AsJson
from kpc.cli.extras import require_extra
from kpc.cli.output import emit, explaining_errors, grid
from kpc.file_errors import naming

if TYPE_CHECKING:
    from kpc.demo.cluster_control import ClusterControl

app = typer.Typer(no_args_is_help=True, help="Run Airflow on Celery on this machine, and kill, pause or add its parts.")

WorkDir = Annotated[Path, typer.Option(help="Folder of the cluster's files.")]
Name = Annotated[str, typer.Argument(help="A part as `kpc cluster list` names it, such as worker-load.")]
_WORK_DIR = Path(".kpc/cluster")


@app.command()
@explaining_errors
def up(
    rows: Annotated[int, typer.Option(help="Records to seed, spread over all 16 tables.")] = 50_000,
    months: Annotated[int, typer.Option(min=1, max=120, help="Months of sales, starting with 2024-01.")] = 3,
    as_json: AsJson = False,
    work_dir: WorkDir = _WORK_DIR,
) -> None:
    """Start both emulators and an Airflow with two Celery workers, and keep them up until Ctrl-C."""
    require_extra("demo", "kpc cluster up")
    from kpc.demo.cluster import ClusterOptions, run_cluster

    with naming("--work-dir", work_dir):
        raise typer.Exit(run_cluster(ClusterOptions(rows, months, work_dir, as_json)))


@app.command("list")
@explaining_errors
def list_parts(as_json: AsJson = False, work_dir: WorkDir = _WORK_DIR) -> None:
    """Show the cluster's processes: state, process id, queues, log."""
    parts = [{**asdict(part), "state": part.state} for part in _control(work_dir, "kpc cluster list").parts()]
    columns = ("name", "state", "pid", "queues", "log")
    rows = [[str(part[column] or "") for column in columns] for part in parts]
    emit({"parts": parts}, as_json=as_json, text=grid("Cluster", columns, rows))


@app.command()
@explaining_errors
def stop(name: Name, as_json: AsJson = False, work_dir: WorkDir = _WORK_DIR) -> None:
    """Shut a part down cleanly; a worker finishes its tasks first. It stays stopped until `start`."""
    control = _control(work_dir, "kpc cluster stop")
    control.stop(name)
    _tell(control, name, f"{name} has stopped.", as_json=as_json)


@app.command()
@explaining_errors
def kill(name: Name, as_json: AsJson = False, work_dir: WorkDir = _WORK_DIR) -> None:
    """Kill a part and all its processes at once, as if its machine were lost. It stays stopped until `start`."""
    control = _control(work_dir, "kpc cluster kill")
    control.kill(name)
    _tell(control, name, f"{name} was killed.", as_json=as_json)


@app.command()
@explaining_errors
def start(name: Name, as_json: AsJson = False, work_dir: WorkDir = _WORK_DIR) -> None:
    """Start a part that was stopped or killed."""
    control = _control(work_dir, "kpc cluster start")
    control.start(name)
    _tell(control, name, f"{name} runs.", as_json=as_json)


@app.command()
@explaining_errors
def pause(name: Name, as_json: AsJson = False, work_dir: WorkDir = _WORK_DIR) -> None:
    """Freeze a part and all its processes, as if its machine hung."""
    control = _control(work_dir, "kpc cluster pause")
    control.pause(name)
    _tell(control, name, f"{name} is paused.", as_json=as_json)


@app.command()
@explaining_errors
def resume(name: Name, as_json: AsJson = False, work_dir: WorkDir = _WORK_DIR) -> None:
    """Let a frozen part continue."""
    control = _control(work_dir, "kpc cluster resume")
    control.resume(name)
    _tell(control, name, f"{name} continues.", as_json=as_json)


@app.command()
@explaining_errors
def worker(
    name: Annotated[str, typer.Argument(help="The new worker's name.")],
    queues: Annotated[str, typer.Option(help="Comma-separated queues that it serves.")] = "extract,default",
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="How many tasks it runs at a time.")] = 2,
    as_json: AsJson = False,
    work_dir: WorkDir = _WORK_DIR,
) -> None:
    """Start one more worker."""
    served = tuple(queue.strip() for queue in queues.split(",") if queue.strip())
    control = _control(work_dir, "kpc cluster worker")
    control.add_worker(name, served, concurrency)
    _tell(control, name, f"{name} runs and serves {', '.join(served)}.", as_json=as_json)


def _tell(control: ClusterControl, name: str, text: str, *, as_json: bool) -> None:
    part = control.find(name)
    emit({**asdict(part), "state": part.state}, as_json=as_json, text=text)


def _control(work_dir: Path, command: str) -> ClusterControl:
    require_extra("demo", command)
    from kpc.demo.cluster_control import ClusterControl

    return ClusterControl(work_dir)
