"""`kpc bench slots`: how busy a campaign keeps the ingest jobs of a slow org, and how long small tables wait for one.

A complete Airflow loads three months of a large table, in many chunks, into an org that takes its time over each. While
chunks wait, every free slot is lost time. In the middle of it a second campaign starts small tables: they must not wait
until the large one is through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from kpc.bench.figures import Figure, Say, rounded
from kpc.bench.request_record import job_times
from kpc.demo.campaign import Campaign
from kpc.demo.servers import Data, World, started
from kpc.errors import Terminal
from kpc.ledger import Ledger
from kpc.partition import Partition, month_keys
from kpc.stages.names import LOAD_POOL, SF_LOADED
from kpc.stages.workspace import ledger_of

LARGE = "KPS_T_SALES_M"
SMALL = ("KPS_R_EMAIL_TENANT", "KPS_WEB_SALES")  # of an earlier phase than the large table, and of its own
_DATA = Data(70_000, month_keys("2024-01", 3))
_CHUNK_ROWS = 200  # in which steps the emulator keeps its pace
_WORK_S = 16.0  # the emulator works on four jobs at once, so that one of fifteen ends after a minute


@dataclass(frozen=True, slots=True)
class LoadTimes:
    """A partition's load, in seconds since the epoch: the end of its plan, and the beginning of each chunk's job."""

    partition: str
    planned_s: float
    begun_s: tuple[float, ...]
    is_small: bool = False

    @property
    def first_wait_s(self) -> float:
        """From the plan to the first job."""
        return min(self.begun_s) - self.planned_s

    def waiting(self, at_s: float) -> int:
        """How many chunks are planned and have no job yet."""
        return sum(begun_s > at_s for begun_s in self.begun_s) if self.planned_s <= at_s else 0


@dataclass(frozen=True, slots=True)
class JobTimes:
    """An ingest job at the org, in seconds since the epoch: all its data is there, and it has ended."""

    closed_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class SlotUse:
    """`loads` and `jobs` of a campaign on `slots` slots."""

    loads: Sequence[LoadTimes]
    jobs: Sequence[JobTimes]
    slots: int

    def busy(self) -> tuple[float, float]:
        """For how many seconds chunks waited, and which share of the slots then had a job at the org, on average."""
        moments = {load.planned_s for load in self.loads} | {each for load in self.loads for each in load.begun_s}
        moments |= {each for job in self.jobs for each in (job.closed_s, job.ended_s)}
        waited_s = used_s = 0.0
        for start_s, end_s in pairwise(sorted(moments)):
            if any(load.waiting(start_s) for load in self.loads):
                at_work = sum(job.closed_s <= start_s < job.ended_s for job in self.jobs)
                waited_s += end_s - start_s
                used_s += (end_s - start_s) * min(at_work, self.slots)
        return waited_s, used_s / (waited_s * self.slots) if waited_s else 0.0

    def figures(self) -> Iterator[Figure]:
        waited_s, share = self.busy()
        job_s = median(job.ended_s - job.closed_s for job in self.jobs)
        slowest = max((load for load in self.loads if load.is_small), key=lambda load: load.first_wait_s)
        yield Figure("seconds for which chunks waited for a slot", rounded(waited_s), ">= 60")
        # Of each minute some seconds go: the end is noticed within five, and another task starts and uploads its chunk.
        yield Figure("share of the slots with a job at the org meanwhile", rounded(share), ">= 0.85")
        yield Figure(
            f"longest wait of a small table for its first job ({slowest.partition}) / a job's median time at the org",
            rounded(slowest.first_wait_s / job_s),
            "<= 1",
        )

    def as_json(self) -> list[dict[str, object]]:
        """Of each partition its chunks, and seconds from the first plan to its own plan, first and last job."""
        begin_s = min(load.planned_s for load in self.loads)
        return [
            {
                "partition": load.partition,
                "chunks": len(load.begun_s),
                "planned_s": round(load.planned_s - begin_s, 1),
                "first_job_s": round(min(load.begun_s) - begin_s, 1),
                "last_job_s": round(max(load.begun_s) - begin_s, 1),
            }
            for load in sorted(self.loads, key=lambda load: load.planned_s)
        ]


def measure_slots(*, say: Say) -> SlotUse:
    """Run both campaigns. Raises `Terminal` if a partition fails, or if the slots were never all in use."""
    switches = {"rows_per_s": str(_CHUNK_ROWS / _WORK_S)}
    settings = {"staging": {"chunk_rows": _CHUNK_ROWS, "batch_rows": _CHUNK_ROWS}}
    with (
        TemporaryDirectory(prefix="kpc-bench-") as place,
        started(Path(place), _DATA, switches=switches, settings=settings) as world,
    ):
        campaign = Campaign(world, (LARGE,), _DATA.months)
        small = Campaign(world, SMALL, _DATA.months)
        campaign.prepare()
        say(f"{LARGE}, months {_DATA.months[0]} to {_DATA.months[-1]}, {_WORK_S:.0f} s of the org's time per job ...")
        campaign.start()
        is_asked = False
        for progress in campaign.watch():
            if not is_asked and sum(not job.ended_s for job in _jobs_of(world)) >= LOAD_POOL.slots:
                is_asked = True
                say(f"  {LOAD_POOL.slots} jobs at the org after {progress.elapsed_s:.0f} s; {', '.join(SMALL)} start")
                small.start()
        if not is_asked:
            raise Terminal(f"There were never {LOAD_POOL.slots} jobs at the org.", "Run the bench on an idle machine.")
        for _ in small.watch():
            pass
        if not (campaign.progress.is_reconciled and small.progress.is_reconciled):
            raise Terminal("A partition of the measured campaign failed.", "Run `kpc demo --rows 4000` to see why.")
        return _slot_use(world, (campaign, small))


def _jobs_of(world: World) -> list[JobTimes]:
    """Every job whose data was complete; `ended_s` is 0 while the org has it."""
    jobs = job_times(world.settings.salesforce.base_url)
    return [JobTimes(job["closed"], job["ended"]) for job in jobs if job["closed"]]


def _slot_use(world: World, campaigns: Sequence[Campaign]) -> SlotUse:
    ledger = ledger_of(world.settings)
    try:
        loads = [_load_times(campaign, each, ledger) for campaign in campaigns for each in campaign.partitions]
    finally:
        ledger.close()
    return SlotUse(loads, [job for job in _jobs_of(world) if job.ended_s], LOAD_POOL.slots)


def _load_times(campaign: Campaign, partition: Partition, ledger: Ledger) -> LoadTimes:
    tasks = campaign.api.tasks(campaign.progress.runs[partition, SF_LOADED])
    (planned,) = (task.ended for task in tasks if task.task_id == "plan")
    load = campaign.progress.stages[partition, SF_LOADED]
    if planned is None or load.generation is None or load.mapping_version is None:
        raise Terminal(f"{partition} has no finished load.", "Run the bench again.")
    begun_s: dict[str, float] = {}
    for job in ledger.jobs.of_load(load.generation, load.mapping_version):
        begun_s.setdefault(job.chunk, job.intent_utc.timestamp())
    is_small = partition.table.name in SMALL
    return LoadTimes(str(partition), planned.timestamp(), tuple(begun_s.values()), is_small)
