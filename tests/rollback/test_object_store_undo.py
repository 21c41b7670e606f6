"""Rollback and corrections with an object store as staging root: each step by another worker with an empty disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from emulated_org import Emulator
from object_store_double import ObjectStoreDouble
from staged_samples import close, fresh_keys, make_workspace, put_foreign, stage

from assets.sf_loaded import sf_loaded
from kpc.errors import JobFailed, QuotaExhausted, Transient
from kpc.load.corrected_rows import read_corrections
from kpc.load.mapped_chunks import begin_chunk, plan_load
from kpc.partition import find_partition
from kpc.repair.corrections import corrections_of
from kpc.repair.refused_rows import export_refused
from kpc.repair.send_refused import send_refused
from kpc.rollback.partition_rollback import plan_rollback, roll_back
from kpc.salesforce.constants import NULL_TOKEN
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
OBJECT, KEY, NAME = SUPPLIERS.table.target, "External_ID__c", "Name_E__c"


pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def objects() -> Iterator[type[ObjectStoreDouble]]:
    """An empty object store."""
    ObjectStoreDouble.empty()
    yield ObjectStoreDouble
    ObjectStoreDouble.empty()


class Company:
    """Workers of one migration that share an object store, a ledger and an org; `emulator` is the org."""

    def __init__(self, emulator: Emulator, root: Path) -> None:
        self.emulator = emulator
        self._root = root
        self._hired = 0

    @contextmanager
    def worker(self, collection_rows: int = 2000, **salesforce: object) -> Iterator[Workspace]:
        self._hired += 1
        settings = self.emulator.settings.model_copy(update={"collection_rows": collection_rows, **salesforce})
        worker = make_workspace(self._root, settings, f"run-{self._hired}", staging_root="objects://bucket/kpc")
        worker.settings.load.pre_image = "on"
        yield worker
        close(worker)
        assert not list(self._root.glob("disk-*/*"))


@pytest.fixture
def company(objects: type[ObjectStoreDouble], emulated: Callable[..., Emulator], tmp_path: Path) -> Company:
    return Company(emulated(), tmp_path)


def _put(worker: Workspace, keys: list[str]) -> None:
    put_foreign(worker, SUPPLIERS, keys, **{NAME: "old"})


def _org(worker: Workspace) -> dict[str, str]:
    return {record[KEY]: record[NAME] for record in worker.salesforce.query(f"SELECT {KEY}, {NAME} FROM {OBJECT}")}


@pytest.mark.parametrize("collection_rows", [0, 2000], ids=["by jobs", "by REST"])
def test_another_worker_rolls_back(company: Company, objects: type[ObjectStoreDouble], collection_rows: int) -> None:
    """What one worker kept and loaded a second one deletes and sets back; the index is gone from the store."""
    there, ours = fresh_keys(2), fresh_keys(3)
    with company.worker(collection_rows) as loading:
        _put(loading, there)
        before = _org(loading)
        stage(loading, SUPPLIERS, [*there, *ours], chunk_rows=2)
        assert sf_loaded.materialize(PartitionContext(loading, SUPPLIERS)).detail["pre_image"] == 2
    with company.worker(collection_rows) as planning:
        plan = plan_rollback(PartitionContext(planning, SUPPLIERS))
        assert (plan.created, plan.updated, plan.imaged) == (3, 2, 2)
    with company.worker(collection_rows) as undoing:
        done = roll_back(PartitionContext(undoing, SUPPLIERS))
        assert (done.created, done.restored, done.left) == (3, 2, 0)
        assert _org(undoing) == before
    assert not [key for key in objects.held if key.endswith("loaded_index.parquet")]


def test_a_rollback_without_quota_is_carried_on_by_another_worker(company: Company) -> None:
    """The ids and records were written down in the store before the first request."""
    there, ours = fresh_keys(2), fresh_keys(2)
    with company.worker(0) as loading:
        _put(loading, there)
        before = _org(loading)
        stage(loading, SUPPLIERS, [*there, *ours])
        sf_loaded.materialize(PartitionContext(loading, SUPPLIERS))
    with company.worker(0, daily_batches=2) as undoing, pytest.raises(QuotaExhausted):
        roll_back(PartitionContext(undoing, SUPPLIERS))
    with company.worker(0) as second:
        assert sorted(_org(second)) == there
        done = roll_back(PartitionContext(second, SUPPLIERS))
        assert (done.created, done.restored) == (2, 2)
        assert _org(second) == before
        assert second.ledger.quota.used(second.environment.target_id)[1] == 3


def test_what_was_created_is_known_to_every_worker(company: Company) -> None:
    """A job that ended in the middle had created records; the workers that load again and roll back know of them."""
    keys = fresh_keys(12_000)
    company.emulator.switch(rows_per_s=5000)
    with company.worker() as loading:
        stage(loading, SUPPLIERS, keys)
        (spec,) = plan_load(PartitionContext(loading, SUPPLIERS))
        job_id = begin_chunk(loading, spec)
        while (info := loading.salesforce.job(job_id)) is None or info.processed < 10_000:
            pass
        loading.salesforce.abort_job(job_id)
        with pytest.raises(JobFailed):
            sf_loaded.materialize(PartitionContext(loading, SUPPLIERS))
    company.emulator.switch(rows_per_s=0)
    with company.worker() as second:
        assert sf_loaded.materialize(PartitionContext(second, SUPPLIERS)).detail["created"] == 12_000
    with company.worker(0) as undoing:
        assert roll_back(PartitionContext(undoing, SUPPLIERS)).created == 12_000
        assert _org(undoing) == {}


def test_chunks_of_an_unpublished_load_are_undone_by_another_worker(company: Company) -> None:
    """A load that stopped for want of quota left chunks that were booked and never published."""
    with company.worker(daily_batches=2, jobs_in_flight=1) as loading:
        stage(loading, SUPPLIERS, fresh_keys(6), chunk_rows=2)
        with pytest.raises(QuotaExhausted):
            sf_loaded.materialize(PartitionContext(loading, SUPPLIERS))
    with company.worker() as undoing:
        assert len(_org(undoing)) == 4
        assert roll_back(PartitionContext(undoing, SUPPLIERS)).created == 4
        assert _org(undoing) == {}


def test_refused_rows_are_corrected_from_worker_to_worker(
    company: Company, objects: type[ObjectStoreDouble], tmp_path: Path
) -> None:
    """One loads, one exports, one sends the corrected file (at the second try), and one finds what was corrected."""
    good, bad = keys = fresh_keys(2)
    file = tmp_path / "failed.csv"
    with company.worker() as loading:
        stage(loading, SUPPLIERS, keys, values={bad: {NAME: "x" * 200}})
        assert sf_loaded.materialize(PartitionContext(loading, SUPPLIERS)).detail["failed"] == 1
    with company.worker() as exporting:
        assert export_refused([PartitionContext(exporting, SUPPLIERS)], SUPPLIERS.table, file) == 1
    file.write_text(file.read_text().replace("x" * 200, "typed"))
    with company.worker() as failing:
        edits = corrections_of(file, SUPPLIERS.table, [PartitionContext(failing, SUPPLIERS)])["ALL"]
        objects.fail_after = 10
        with pytest.raises(Transient, match="went away"):
            send_refused(PartitionContext(failing, SUPPLIERS), edits)
        objects.fail_after = None
    with company.worker() as sending:
        assert send_refused(PartitionContext(sending, SUPPLIERS), edits).loaded == 1
        assert _org(sending)[bad] == "typed"
        assert _org(sending)[good] != "typed"
    with company.worker() as reading:
        assert read_corrections(PartitionContext(reading, SUPPLIERS))[NAME].to_list() == ["typed"]
        assert sf_loaded.materialize(PartitionContext(reading, SUPPLIERS)).detail["failed"] == 0
        assert roll_back(PartitionContext(reading, SUPPLIERS)).created == 2
        assert read_corrections(PartitionContext(reading, SUPPLIERS)).is_empty()


@pytest.mark.parametrize("broken", range(1, 9))
def test_a_repair_that_breaks_off_is_repeated(company: Company, objects: type[ObjectStoreDouble], broken: int) -> None:
    """Whichever object of a retry is the last that reaches the store, the next worker ends it; nothing is damaged."""
    parent = find_partition("KPS_R_EMAIL_SUPPLIER", "ALL")
    (supplier,), keys = fresh_keys(1), fresh_keys(2)
    cells = {"Pos_Supplier__r.External_ID__c": supplier, "Names__c": NULL_TOKEN}
    with company.worker() as loading:
        stage(loading, SUPPLIERS, [])
        sf_loaded.materialize(PartitionContext(loading, SUPPLIERS))
        stage(loading, parent, keys, values=dict.fromkeys(keys, cells))
        assert sf_loaded.materialize(PartitionContext(loading, parent)).detail["failed"] == 2
        stage(loading, SUPPLIERS, [supplier])
        sf_loaded.materialize(PartitionContext(loading, SUPPLIERS))
    objects.break_at = len(objects.uploads) + broken
    with company.worker() as failing, suppress(Transient):
        send_refused(PartitionContext(failing, parent))
    objects.break_at = None
    with company.worker() as second:
        send_refused(PartitionContext(second, parent))
        assert sf_loaded.materialize(PartitionContext(second, parent)).detail["failed"] == 0
        assert second.salesforce.count(parent.table.target) == 2
        assert second.ledger.failures.of_partition(second.environment, parent) == []
