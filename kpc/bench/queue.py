"""Following jobs of which the org works on few at once: how soon each end is noticed, and at how many API calls.

The emulator paces its jobs and knows when each began and ended; its clock is this machine's. A job counts as noticed
when its results are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kpc.bench.figures import Figure, Say, rounded
from kpc.bench.load import SENT, emulator
from kpc.bench.processes import run_function
from kpc.bench.request_record import job_times
from kpc.salesforce.job_pace import LATE_S, LATE_SHARE

_TIMEOUT_S = 400.0


@dataclass(frozen=True, slots=True)
class Queue:
    """What is loaded: jobs of `rows` rows each, of which the org works on `at_work` at once."""

    name: str
    jobs: int
    rows: int
    rows_per_s: float
    at_work: int
    in_flight: int


QUEUES = (
    Queue("30 jobs in a queue", 30, 5_000, 500.0, at_work=3, in_flight=30),
    Queue("90 short jobs, 15 in flight", 90, 1_000, 500.0, at_work=3, in_flight=15),
)


@dataclass(frozen=True, slots=True)
class FollowedEnd:
    """One job: seconds from closing to its beginning, of work, and from its end to our noticing; its own API calls."""

    queue: str
    job_id: str
    queued_s: float
    working_s: float
    delay_s: float
    calls: int

    @property
    def delay_share(self) -> float:
        """The delay as a share of what is allowed."""
        return self.delay_s / max(LATE_S, LATE_SHARE * self.working_s)

    def as_json(self) -> dict[str, object]:
        times = {name: round(getattr(self, name), 2) for name in ("queued_s", "working_s", "delay_s")}
        return {"queue": self.queue, "job": self.job_id, **times, "calls": self.calls}


@dataclass(frozen=True, slots=True)
class QueueReport:
    figures: list[Figure]
    ends: list[FollowedEnd]


def measure_queues(
    stage: Callable[..., str], load: Callable[..., dict[str, object]], *, say: Say, queues: Sequence[Queue] = QUEUES
) -> QueueReport:
    """All figures, and each job's. `stage` and `load` are run in processes of their own."""
    figures: list[Figure] = []
    ends: list[FollowedEnd] = []
    for queue in queues:
        say(f"{queue.name}: the org works on {queue.at_work} at once, {queue.rows / queue.rows_per_s:.0f} s each ...")
        answer, of_queue = _run(stage, load, queue)
        for end in of_queue:
            say(
                f"  {end.job_id}: queued {end.queued_s:.1f} s, worked {end.working_s:.1f} s, noticed after "
                f"{end.delay_s:.1f} s, {end.calls} calls"
            )
        figures += _figures(queue, answer, of_queue)
        ends += of_queue
    return QueueReport(figures, ends)


def _run(
    stage: Callable[..., str], load: Callable[..., dict[str, object]], queue: Queue
) -> tuple[Mapping[str, Any], list[FollowedEnd]]:
    with TemporaryDirectory(prefix="kpc-bench-") as place:
        folder = Path(place, "rows")
        with emulator(Path(place, "org"), workers=queue.at_work, sink="true", rows_per_s=str(queue.rows_per_s)) as org:
            wanted: dict[str, object] = {"folder": str(folder), "org": dict(org), "table": SENT}
            run_function(stage, {**wanted, "rows": queue.jobs * queue.rows, "chunk_rows": queue.rows})
            answer = run_function(load, {**wanted, "jobs_in_flight": queue.in_flight}, timeout_s=_TIMEOUT_S).answer
            times = job_times(org["base_url"])
    if answer["rows"] != queue.jobs * queue.rows:
        raise AssertionError(f"{answer['rows']} of {queue.jobs * queue.rows} rows arrived")
    return answer, [
        FollowedEnd(
            queue.name,
            job["id"],
            job["started"] - job["closed"],
            job["ended"] - job["started"],
            answer["results_utc_s"][job["id"]] - job["ended"],
            answer["calls_of"][job["id"]],
        )
        for job in times
    ]


def _figures(queue: Queue, answer: Mapping[str, Any], ends: Sequence[FollowedEnd]) -> list[Figure]:
    org_s = sum(end.working_s for end in ends) / queue.at_work
    return [
        Figure(
            f"{queue.name}, longest noticing delay / allowed", rounded(max(end.delay_share for end in ends)), "<= 1"
        ),
        Figure(f"{queue.name}, API calls per job", rounded(answer["calls"] / queue.jobs), "<= 15"),
        Figure(f"{queue.name}, wall time / the org's working time", rounded(answer["wall_s"] / org_s), "<= 1.15"),
    ]
