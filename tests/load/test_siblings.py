"""Loads that lock the same parents come one after the other; others do not wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from emulated_org import Emulator
from staged_samples import SampleWorkspace, close, fresh_keys, make_workspace, stage

from assets.sf_loaded import sf_loaded
from kpc.catalog.types import OnDelete
from kpc.errors import CatalogError, SiblingLoading
from kpc.load.mapped_chunks import begin_chunk, check_room, finish_chunk, plan_load, poll_chunk
from kpc.partition import Partition, Sibling, find_partition, siblings
from kpc.stages.context import PartitionContext
from kpc.stages.result import StageResult

PARENT = find_partition("KPS_T_SALES_M", "2024-01")
CHILDREN = (find_partition("KPS_T_SALES_MD", "2024-01"), find_partition("KPS_T_SALESPAY_MD", "2024-01"))
RELATION = "Sale__r.External_ID__c"

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def org(emulated: Callable[..., Emulator]) -> Emulator:
    """Locks parents, as by default."""
    return emulated()


@pytest.fixture
def workers(org: Emulator, tmp_path: Path) -> Iterator[list[SampleWorkspace]]:
    """Two workers with one ledger; the parents are loaded, and the children of both tables staged in three chunks."""
    made = [make_workspace(tmp_path, org.settings, f"run-{number}") for number in range(2)]
    parents = fresh_keys(3)
    stage(made[0], PARENT, parents)
    sf_loaded.materialize(PartitionContext(made[0], PARENT))
    for child in CHILDREN:
        keys = fresh_keys(30)
        values = {key: {RELATION: parents[number // 10]} for number, key in enumerate(keys)}
        stage(made[0], child, keys, chunk_rows=10, values=values)
    yield made
    for each in made:
        close(each)


def load_both(workers: list[SampleWorkspace]) -> list[StageResult]:
    """Both children at once, each by a worker of its own."""
    contexts = [PartitionContext(worker, child) for worker, child in zip(workers, CHILDREN, strict=True)]
    with ThreadPoolExecutor(len(contexts)) as pool:
        return list(pool.map(sf_loaded.materialize, contexts))


def test_siblings_of_a_month_do_not_load_at_once(workers: list[SampleWorkspace], org: Emulator) -> None:
    """Both end, without a row that was locked out by the other table; only chunks of one table may meet."""
    org.switch(rows_per_s=20.0)
    before = {job["id"] for job in org.job_times()}
    results = load_both(workers)
    assert [result.detail["loaded"] for result in results] == [30, 30]
    jobs = {info.id: info.object_name for info in workers[0].salesforce.list_jobs()}
    spans: dict[str, list[tuple[float, float]]] = {}
    for job in org.job_times():
        if job["id"] not in before:
            spans.setdefault(jobs[job["id"]], []).append((job["started"], job["ended"]))
    first, second = (spans[child.table.target] for child in CHILDREN)
    assert not any(began < end and start < ended for began, ended in first for start, end in second)
    failed = [workers[0].salesforce.job(job_id) for job_id in jobs if job_id not in before]
    assert sum(info.failed or 0 for info in failed if info is not None) == 0


def test_a_task_whose_sibling_is_loading_gives_its_slot_back(workers: list[SampleWorkspace], org: Emulator) -> None:
    """Planning and beginning a chunk both say whom they wait for, and when to look again; then they go on."""
    org.switch(processing="hold")
    mine, other = (PartitionContext(worker, child) for worker, child in zip(workers, CHILDREN, strict=True))
    ours, theirs = plan_load(mine), plan_load(other)
    check_room(other, theirs)
    job_id = begin_chunk(workers[0], ours[0])
    begin_chunk(workers[0], ours[1])  # of the same table: only the few parents between two chunks are shared
    for attempt in (lambda: check_room(other, theirs), lambda: begin_chunk(workers[1], theirs[0])):
        with pytest.raises(SiblingLoading, match="KPS_T_SALESPAY_MD 2024-01 waits while a job of KPS_T_SALES_MD"):
            attempt()
    with pytest.raises(SiblingLoading) as waiting:
        check_room(other, theirs)
    assert 0 < (waiting.value.again_utc - datetime.now(UTC)).total_seconds() <= 20
    assert other.ledger.jobs.at_work(other.environment, other.partition) == []
    org.switch(processing="run")
    for spec, job in ((ours[0], job_id), (ours[1], begin_chunk(workers[0], ours[1]))):
        while not poll_chunk(workers[0], spec, job).is_final:
            pass
        finish_chunk(workers[0], spec, job)
    check_room(other, theirs)
    assert begin_chunk(workers[1], theirs[0])


def test_children_of_one_parent_are_siblings_where_they_lock_it() -> None:
    names = {each.table_name for each in siblings(CHILDREN[0])}
    assert {"KPS_T_SALES_MD", "KPS_T_SALESPAY_MD"} <= names
    assert {each.key for each in siblings(CHILDREN[0])} == {"2024-01"}
    assert siblings(PARENT) == ()
    assert siblings(find_partition("KPS_R_EMAIL_SUPPLIER", "ALL")) == (Sibling("KPS_R_EMAIL_SUPPLIER", None),)


def test_a_lookup_that_is_cleared_with_its_parent_locks_nothing() -> None:
    table = CHILDREN[0].table
    (lookup,) = table.lookups
    optional = replace(table, lookups=(replace(lookup, required=False, on_delete=OnDelete.CLEAR),))
    assert siblings(Partition(optional, "2024-01")) == ()
    with pytest.raises(CatalogError, match="a required lookup cannot be cleared"):
        replace(table, lookups=(replace(lookup, on_delete=OnDelete.CLEAR),))
    cascading = replace(table, lookups=(replace(lookup, on_delete=OnDelete.CASCADE),))
    assert siblings(Partition(cascading, "2024-01")) != ()
    assert cascading.mapping_version == table.mapping_version
