"""`kpc bench airflow`: what Airflow itself costs, beside the work that it starts.

A complete Airflow moves forty small partitions through the four stages, on each executor in turn. Its CPU time is that
of its processes and of the tasks in them, without what the stages report as their own work. The first Airflow also
answers the Migration page.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from kpc.airflow_client.records import AssetEvent, DagRun
from kpc.bench.figures import Figure, Say, rounded
from kpc.bench.page_answer import page_figures
from kpc.bench.processes import run_function
from kpc.catalog import TABLES
from kpc.demo.airflow_config import TaskExecutor
from kpc.demo.campaign import Campaign
from kpc.demo.servers import Data, started
from kpc.demo.summary import CPU_S
from kpc.errors import ConfigError, Terminal
from kpc.partition import month_keys, partitions_of
from kpc.stages.names import SIGN_OFF_PREFIX, STAGES, asset_name

NAMES = {TaskExecutor.LOCAL: "LocalExecutor", TaskExecutor.CELERY: "CeleryExecutor"}
PARTITIONS = 40
_ROWS = 4_000  # of all tables together: what is measured is Airflow
_FIRST_MONTH = "2018-01"  # so that 79 months, those of 250 partitions, have begun
_SETTLED_LOOKS = 4  # seconds without a new or a running run, after which no run is missing any more
_SETTLE_TIMEOUT_S = 120.0
_CELERY_CPU_S = 12.0  # per partition: twice LocalExecutor's goal, because each task is a process started afresh


@dataclass(frozen=True, slots=True)
class CampaignCost:
    """A campaign on one executor. CPU times are in seconds, `cpu_s` by component without the stages' own work."""

    executor: str
    partitions: int
    runs: int
    tasks: int
    missing: int
    doubled: int
    wall_s: float
    own_work_s: float
    cpu_s: Mapping[str, float]

    @property
    def airflow_s(self) -> float:
        """Airflow's own CPU: its components, and starting and ending tasks."""
        return sum(value for name, value in self.cpu_s.items() if name.startswith("airflow ") or _is_worker(name))

    def figures(self) -> Iterator[Figure]:
        per_partition = self.airflow_s / self.partitions
        name = f"{self.executor}, {self.partitions} partitions of four stages"
        yield Figure(f"{name}: lost or doubled runs", self.missing + self.doubled, "<= 0")
        goal = "<= 6" if self.executor == NAMES[TaskExecutor.LOCAL] else f"<= {_CELERY_CPU_S:g}"
        yield Figure(f"{name}: Airflow's own CPU per partition in s", rounded(per_partition), goal)

    def as_json(self) -> dict[str, object]:
        """The split of the time: of each component per task, the stages' own work beside it."""
        return {
            "executor": self.executor,
            "partitions": self.partitions,
            "runs": self.runs,
            "tasks": self.tasks,
            "wall_s": rounded(self.wall_s),
            "runs_per_minute": rounded(60 * self.runs / self.wall_s),
            "own_work_s": rounded(self.own_work_s),
            "cpu_s_per_task": {name: rounded(value / self.tasks) for name, value in self.cpu_s.items()},
        }

    def __str__(self) -> str:
        split = ", ".join(f"{name} {value / self.tasks:.2f}" for name, value in self.cpu_s.items())
        return f"{self.executor}: {self.tasks} tasks in {self.wall_s:.0f} s; CPU seconds per task: {split}"


def measure_airflow(
    *, executors: Sequence[TaskExecutor] = tuple(TaskExecutor), partitions: int = PARTITIONS, say: Say
) -> tuple[list[Figure], list[CampaignCost]]:
    """Run the campaign on each executor; returns the figures and the split of each.

    Raises `ConfigError` for a number of partitions that no number of months gives, `Terminal` if a partition fails.
    """
    months = months_of(partitions)
    parsed = run_function(build_all_dags, {})
    figures = [Figure("CPU to build all DAGs of the file, after the imports, in s", rounded(parsed.answer), "<= 1")]
    costs: list[CampaignCost] = []
    for executor in executors:
        say(f"{NAMES[executor]}: {partitions} partitions of four stages ...")
        cost, of_page = _campaign(executor, months, with_page=not costs)  # the page does not depend on the executor
        say(f"  {cost}")
        figures += [*cost.figures(), *of_page]
        costs.append(cost)
    return figures, costs


def months_of(partitions: int) -> tuple[str, ...]:
    """The months for which all tables together have that many partitions. Raises `ConfigError`."""
    for count in range(1, 1 + partitions):
        months = month_keys(_FIRST_MONTH, count)
        total = sum(len(list(partitions_of(table, months))) for table in TABLES.values())
        if total == partitions:
            return months
        if total > partitions:
            break
    raise ConfigError(
        f"No number of months gives {partitions} partitions.", "Give 13 and a multiple of 3: 16, 40, 250 ..."
    )


def build_all_dags() -> float:
    """CPU seconds to build every DAG, with everything imported; for a process of its own."""
    from dags.pipeline import dag_makers  # noqa: PLC0415  imports Airflow

    began_s = time.process_time()
    for make in dag_makers().values():
        make()
    return time.process_time() - began_s


def _campaign(executor: TaskExecutor, months: Sequence[str], *, with_page: bool) -> tuple[CampaignCost, list[Figure]]:
    data = Data(_ROWS, months)
    with TemporaryDirectory(prefix="kpc-bench-") as place, started(Path(place), data, executor=executor) as world:
        campaign = Campaign(world, tuple(TABLES), months)
        campaign.prepare()
        before, began = world.keeper.cpu_s(), time.monotonic()
        campaign.start()
        for _ in campaign.watch():
            pass
        wall_s, after = time.monotonic() - began, world.keeper.cpu_s()
        if not campaign.progress.is_reconciled:
            raise Terminal("A partition of the measured campaign failed.", "Run `kpc demo --rows 4000` to see why.")
        spent = {name: after[name] - before.get(name, 0.0) for name in after}
        cost = _cost(NAMES[executor], campaign, wall_s, spent)
        return cost, page_figures(world) if with_page else []


def _cost(executor: str, campaign: Campaign, wall_s: float, spent: Mapping[str, float]) -> CampaignCost:
    runs = _settled_runs(campaign)
    events = campaign.api.events(since=campaign.since)
    counted = Counter((run.dag_id, run.key) for run in runs if run.state == "success")
    wanted = [
        (asset_name(partition.table, stage), partition.key) for partition in campaign.partitions for stage in STAGES
    ]
    own_work_s = _own_work_s(events)
    return CampaignCost(
        executor,
        len(campaign.partitions),
        len(runs),
        sum(len(campaign.api.tasks(run)) for run in runs),
        missing=sum(counted[place] == 0 for place in wanted),
        doubled=sum(max(0, counted[place] - 1) for place in wanted),
        wall_s=wall_s,
        own_work_s=own_work_s,
        cpu_s=split_of(spent, own_work_s),
    )


def _settled_runs(campaign: Campaign) -> list[DagRun]:
    """All runs since the start, once no run is active: a doubled one may begin after the last partition has ended.

    Runs that ask for a sign-off wait for a person, whom nobody plays here.
    """
    until, quiet = time.monotonic() + _SETTLE_TIMEOUT_S, 0
    runs: list[DagRun] = []
    while quiet < _SETTLED_LOOKS and time.monotonic() < until:
        seen, runs = len(runs), campaign.api.runs(since=campaign.since)
        is_quiet = all(run.is_final for run in runs if not run.dag_id.startswith(SIGN_OFF_PREFIX))
        quiet = quiet + 1 if len(runs) == seen and is_quiet else 0
        time.sleep(1.0)
    return runs


def _own_work_s(events: Sequence[AssetEvent]) -> float:
    return sum(float(event.extra.get(CPU_S, 0)) for event in events)


def split_of(spent: Mapping[str, float], own_work_s: float) -> dict[str, float]:
    """Take the stages' own work from where they ran: the workers, or the scheduler of LocalExecutor."""
    workers = [name for name in spent if _is_worker(name)] or ["airflow scheduler"]
    of_workers = sum(spent[name] for name in workers)
    return {
        name: value - own_work_s * value / of_workers if name in workers else value for name, value in spent.items()
    }


def _is_worker(component: str) -> bool:
    """Whether it is one of the Celery workers, such as `worker-load`."""
    return component.startswith("worker-")
