"""Seeded schedules of faults: whatever meets a load, no row is invented, lost or doubled, and no job is forgotten.

The emulator's history log of every accepted write is the witness. 200 schedules in `make test`, the other 1,800 in
`make slow`.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import stamina
from emulated_org import Emulator, start_emulator
from staged_samples import join_workspace, stage

from assets.sf_loaded import sf_loaded
from kpc.errors import OutcomeUnknown, QuotaExhausted, Terminal, Transient
from kpc.ledger import Ledger, open_ledger
from kpc.partition import find_partition
from kpc.salesforce import BulkJobState, connect
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
OBJECT, KEY = SUPPLIERS.table.target, "External_ID__c"
QUICK, ALL = 200, 2000
STRAND = 50  # schedules that share an org
MOST_RUNS = 12  # a schedule's faults are spent long before

PLACES = {
    "create": ("POST", "/jobs/ingest/?$"),
    "upload": ("PUT", "/batches"),
    "close": ("PATCH", "/jobs/ingest/"),
    "poll": ("GET", "/jobs/ingest/[^/]+$"),
    "results": ("GET", "(successful|failed)Results"),
    "list": ("GET", "/jobs/ingest/?$"),
    "describe": ("GET", "/describe"),
    "limits": ("GET", "/limits"),
    "collection": ("PATCH", "/composite/"),
    "anything": ("", "/services/data"),
}
ANSWERS = [(500, "UNKNOWN_EXCEPTION"), (503, "SERVER_UNAVAILABLE"), (429, "TOO_MANY"), (401, "INVALID_SESSION_ID")]
REFUSALS = [(400, "EXCEEDEDQUOTA"), (403, "REQUEST_LIMIT_EXCEEDED")]


class Org:
    """An emulator, one log-in, and the emulator's admin door."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.settings = emulator.settings
        self.settings.poll_first_s, self.settings.poll_longest_s = 0.005, 0.05
        self.client = connect(self.settings)
        self.http = httpx.Client(base_url=f"{emulator.facts['base_url']}/_emulator", trust_env=False, timeout=60)
        self.seen = 0  # number of the last entry of the history that was looked at

    def arrange(self, faults: list[dict[str, Any]], switches: dict[str, Any]) -> None:
        self.http.delete("/faults").raise_for_status()
        self.http.patch("/switches", json=switches).raise_for_status()
        if faults:
            self.http.post("/faults", json=faults).raise_for_status()

    def tidy(self) -> None:
        """No fault, and no Open job that a lost reply left behind: the next schedule might take it for its own."""
        self.arrange([], {"lock_rows_every": 0})
        for job in self.client.list_jobs():
            if job.state is BulkJobState.OPEN:
                self.client.abort_job(job.id)

    def news(self) -> list[dict[str, Any]]:
        """What was written since the last look."""
        entries: list[dict[str, Any]] = self.http.get("/history", params={"after": self.seen}).raise_for_status().json()
        self.seen = entries[-1]["number"] if entries else self.seen
        return entries

    def batches(self) -> int:
        return int(self.http.post("/usage", json={}).raise_for_status().json()["batches"])

    def stop(self) -> None:
        self.http.close()
        self.client.close()
        self.emulator.stop()


class Memory:
    """One ledger for all schedules, empty for each: making one, and compiling its statements, outlasts a load."""

    def __init__(self, folder: Path) -> None:
        self.file, self.empty = folder / "ledger.db", folder / "empty.db"
        self.ledger = open_ledger(f"sqlite:///{self.file}", is_durable=False)
        self.ledger.close()
        shutil.copy(self.file, self.empty)

    def emptied(self) -> Ledger:
        self.ledger.close()
        shutil.copy(self.empty, self.file)
        return self.ledger


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory, where the system has a place for it: no schedule cuts the power, so nothing need reach a disk."""
    shared = Path("/dev/shm")  # noqa: S108  a folder of our own in it
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="kpc-schedules-", dir=shared) as made:
        yield Path(made)


@pytest.fixture
def org(folder: Path) -> Iterator[Org]:
    org = Org(start_emulator(folder / "org", "daily_batches=10000000"))
    yield org
    org.stop()


@pytest.fixture
def memory(folder: Path) -> Iterator[Memory]:
    memory = Memory(folder)
    yield memory
    memory.ledger.close()


def _fault(choose: random.Random) -> dict[str, Any]:
    method, path = PLACES[choose.choice(list(PLACES))]
    rule: dict[str, Any] = {"method": method, "path": path, "skip": choose.randrange(4), "times": choose.randint(1, 3)}
    action = choose.choice(["status", "status", "status_after", "cut_before", "cut_after", "cut_body", "expire_tokens"])
    rule["action"] = action
    if action == "status" and choose.random() < 0.2:
        rule |= dict(zip(("status", "code"), choose.choice(REFUSALS), strict=True)) | {"times": 1}
    elif action in ("status", "status_after"):
        rule |= dict(zip(("status", "code"), choose.choice(ANSWERS), strict=True))
    if action == "expire_tokens" or rule.get("status") == 401:
        rule["times"] = 1  # a fresh token that is refused as well is a setting, and ends the load
    if action == "cut_body":
        rule |= {"method": "PUT", "path": "/batches", "after_bytes": choose.choice([1, 200, 2000])}
    return rule


def _bearable(faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most two rules that end sessions: a third refusal of one request is taken for a wrong setting."""
    ending = [fault for fault in faults if fault["action"] == "expire_tokens" or fault.get("status") == 401]
    return [fault for fault in faults if fault not in ending[2:]]


def _load_until_done(workspace: Workspace) -> int:
    """Run the load as a scheduler would: again after whatever may pass, later after whatever needs time."""
    for runs in range(1, MOST_RUNS + 1):
        try:
            sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
        except (Transient, OutcomeUnknown, Terminal) as error:
            if isinstance(error, QuotaExhausted):
                workspace.ledger.quota.unblock(workspace.environment.target_id)  # the hour is over
        else:
            return runs
    pytest.fail("the load does not come to its end")


def _survives(seed: int, org: Org, memory: Memory, root: Path) -> None:
    choose = random.Random(seed)  # noqa: S311  repeatable, no secret
    settings = org.settings.model_copy()
    settings.jobs_in_flight = choose.randint(1, 3)
    settings.collection_rows = choose.choice([0, 2000])
    settings.upload_encoding = choose.choice(["auto", "gzip", "identity"])  # type: ignore[assignment]
    workspace = join_workspace(root, settings, memory.emptied(), org.client, f"run-{seed}")
    rows = choose.randint(1, 12)
    keys = [f"seed{seed:05d}-{number:03d}" for number in range(rows)]
    stage(workspace, SUPPLIERS, keys, chunk_rows=choose.randint(2, 6))
    batches = org.batches()
    faults = _bearable([_fault(choose) for _ in range(choose.randint(1, 4))])
    org.arrange(faults, {"lock_rows_every": choose.choice([0, 0, 3])})
    _load_until_done(workspace)
    org.tidy()
    _check(workspace, org, keys, org.batches() - batches, faults)
    shutil.rmtree(root)


def _check(workspace: Workspace, org: Org, keys: list[str], batches: int, faults: list[dict[str, Any]]) -> None:
    ledger, environment, where = workspace.ledger, workspace.environment, (keys[0], faults)
    writes = [entry for entry in org.news() if entry["object"] == OBJECT]
    inserts = Counter(entry["key"] for entry in writes if entry["operation"] == "insert")
    assert inserts == Counter(keys), where  # no row invented, lost or doubled
    in_org = [r[KEY] for r in org.client.query(f"SELECT {KEY} FROM {OBJECT} WHERE {KEY} LIKE '{keys[0][:9]}%'")]
    assert sorted(in_org) == keys, where
    if not any(fault["path"] in ("/composite/", "/services/data") for fault in faults):
        assert len(writes) == len(keys), where  # and none is sent twice, unless a collection's reply was lost
    index = PartitionContext(workspace, SUPPLIERS).paths.folder / "loaded_index.parquet"
    assert sorted(pl.read_parquet(index)["external_id"]) == keys, where
    assert ledger.failures.of_partition(environment, SUPPLIERS) == [], where
    assert ledger.jobs.in_flight(environment.target_id) == 0, where
    assert ledger.jobs.at_work(environment, SUPPLIERS) == [], where
    mine = {entry["source"] for entry in writes if entry["source"] != "REST"}
    assert all(ledger.jobs.is_known(environment.target_id, job_id) for job_id in mine), where
    assert batches <= ledger.quota.used(environment.target_id)[1], where  # nothing was used that was not debited
    assert ledger.audit.verify() == [], where


def _strands(first: int, end: int) -> list[Any]:
    """Ranges of seeds that share an org; strands may run side by side."""
    return [pytest.param(range(seed, seed + STRAND), id=f"from {seed}") for seed in range(first, end, STRAND)]


@pytest.mark.parametrize("seeds", _strands(0, QUICK))
def test_schedules_of_faults_break_no_invariant(seeds: range, org: Org, memory: Memory, folder: Path) -> None:
    """The first 200 schedules."""
    _run(seeds, org, memory, folder)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seeds", _strands(QUICK, ALL))
def test_two_thousand_schedules_break_no_invariant(seeds: range, org: Org, memory: Memory, folder: Path) -> None:
    """The others of all 2,000."""
    _run(seeds, org, memory, folder)


def _run(seeds: range, org: Org, memory: Memory, folder: Path) -> None:
    with stamina.set_testing(testing=True, attempts=3):
        for seed in seeds:
            _survives(seed, org, memory, folder / str(seed))
