"""What must hold after anything that happened to a cluster: every partition moved exactly once."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import TypeVar

import psutil  # type: ignore[import-untyped]
from sqlalchemy import Connection, select

from kpc.demo.servers import World
from kpc.errors import Transient
from kpc.ledger import open_ledger, schema
from kpc.ledger.states import ChunkState, JobState
from kpc.partition import Partition
from kpc.processes import process_tree
from kpc.salesforce import BulkJobState, connect
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, STAGED_CSV, STAGES, asset_name
from kpc.stages.workspace import open_workspace

T = TypeVar("T")


def wait_for(ask: Callable[[], T], seconds: float, what: str) -> T:
    """The first true answer. Parts of a cluster may be down meanwhile, and this client is one of those who wait."""
    until = time.monotonic() + seconds
    while True:
        try:
            if answer := ask():
                return answer
        except Transient:
            pass
        assert time.monotonic() < until, f"{what} did not happen in {seconds:.0f} s"
        time.sleep(0.5)


@contextmanager
def reading(world: World) -> Iterator[Connection]:
    """A transaction on the world's ledger."""
    ledger = open_ledger(world.settings.ledger_url.get_secret_value())
    try:
        with ledger.database.reading() as connection:
            yield connection
    finally:
        ledger.close()


def is_reconciled(world: World, partition: Partition, since: datetime) -> bool:
    """Raises where the last run of one of its stages has failed."""
    runs = [
        run
        for stage in STAGES
        for run in world.api.runs(dag_id=asset_name(partition.table, stage), key=partition.key, since=since)
    ]
    failed = [run for run in runs if run.state == "failed"]
    assert not failed, f"{partition}: {world.api.failure(failed[0])}"
    return [run.state for run in runs] == ["success"] * len(STAGES)


def not_loaded(world: World, partitions: Iterable[Partition]) -> list[Partition]:
    """Those of the partitions of which nothing is in the org yet."""
    with open_workspace(world.settings, run_id="check", actor="test") as workspace:
        stages, environment = workspace.ledger.stages, workspace.environment
        return [each for each in partitions if not stages.is_loaded(environment, each)]


def assert_exactly_once(world: World, partitions: Iterable[Partition], since: datetime) -> None:
    """Airflow, ledger and org agree: one run per stage, one complete job per chunk, one record per staged row.

    For partitions whose first load this was.
    """
    with open_workspace(world.settings, run_id="check", actor="test") as workspace:
        for partition in partitions:
            _one_run_per_stage(world, partition, since)
            rows = {}
            for stage in STAGES:
                last = workspace.ledger.stages.last(workspace.environment, partition, stage)
                assert last is not None, (str(partition), stage)
                assert last.state not in ("running", "failed", "waiting"), (str(partition), stage, last.error)
                rows[stage] = last
            staged = int((rows[STAGED_CSV].detail or {})["staged"])
            assert rows[RECONCILED].state == "reconciled"
            assert staged == rows[ORACLE_EXTRACT].rows
            _one_job_per_chunk(world, partition, staged)


def _one_run_per_stage(world: World, partition: Partition, since: datetime) -> None:
    for stage in STAGES:
        runs = world.api.runs(dag_id=asset_name(partition.table, stage), key=partition.key, since=since)
        assert [run.state for run in runs] == ["success"], (str(partition), stage)


def _one_job_per_chunk(world: World, partition: Partition, staged: int) -> None:
    chunk, job = schema.chunk, schema.job
    with reading(world) as connection:
        mine = (chunk.c.table_name == partition.table.name, chunk.c.partition_key == partition.key)
        chunks = connection.execute(select(chunk.c.name, chunk.c.state, chunk.c.loaded).where(*mine)).all()
        theirs = (job.c.table_name == partition.table.name, job.c.partition_key == partition.key)
        jobs = connection.execute(select(job.c.chunk, job.c.job_id, job.c.state).where(*theirs)).all()
    assert {each.state for each in chunks} == {ChunkState.DONE}
    assert sum(each.loaded for each in chunks) == staged
    complete = Counter(each.chunk for each in jobs if each.state == JobState.COMPLETE)
    assert complete == {each.name: 1 for each in chunks}, f"{partition}: {complete}"
    ids = {each.job_id for each in jobs if each.state == JobState.COMPLETE}
    with closing(connect(world.settings.salesforce)) as org:
        assert org.count(partition.table.target, f"Migration_Partition__c LIKE '{partition.key}/%'") == staged
        ran = [each for each in org.list_jobs() if each.object_name == partition.table.target]
        processed = {each.id for each in ran if each.state is BulkJobState.JOB_COMPLETE}
    assert ids <= processed


def assert_no_other_job(world: World) -> None:
    """Every ingest job that the org has processed is a chunk's one job."""
    with reading(world) as connection:
        known = set(connection.execute(select(schema.job.c.job_id)).scalars())
    with closing(connect(world.settings.salesforce)) as org:
        processed = {job.id for job in org.list_jobs() if job.state is BulkJobState.JOB_COMPLETE}
    assert processed <= known


def delay_uploads(world: World, seconds: float) -> None:
    """The next upload of a chunk waits in the org, so that its task can be met in the middle of its work."""
    rule = {"action": "delay", "method": "PUT", "path": "/jobs/ingest/", "delay_s": seconds, "times": 1}
    url = f"{world.settings.salesforce.base_url}/_emulator/faults"
    request = urllib.request.Request(url, json.dumps(rule).encode(), method="POST")  # noqa: S310  our own server
    request.add_header("Content-Type", "application/json")
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310  the same


def has_open_job(world: World, partition: Partition) -> bool:
    """Whether a chunk of the partition is between the creation of its job and the end of its upload."""
    job = schema.job
    mine = (job.c.table_name == partition.table.name, job.c.partition_key == partition.key)
    with reading(world) as connection:
        return JobState.OPEN in connection.execute(select(job.c.state).where(*mine)).scalars().all()


def task_processes(world: World, worker: str) -> list[psutil.Process]:
    """The processes of a worker that execute tasks: the leaves of its tree, two levels below its pool."""
    tree = process_tree(world.keeper.servers[worker].pid)
    parents = {process.ppid() for process in tree}
    depth = {tree[0].pid: 0} if tree else {}
    for process in tree[1:]:
        depth[process.pid] = depth.get(process.ppid(), 0) + 1
    return [process for process in tree if process.pid not in parents and depth[process.pid] >= 2]


def log_of(world: World, server: str) -> str:
    return (world.logs / f"{server.replace(' ', '-')}.log").read_text(errors="replace")
