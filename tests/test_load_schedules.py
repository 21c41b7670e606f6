"""Seeded schedules of faults: whatever meets a load, no row is invented, lost or doubled, and no job is forgotten.

The emulator's history log of every accepted write is the witness. 2,000 schedules in `make slow`; 40 in `make test`,
which would otherwise take minutes longer.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import stamina
from emulated_org import Emulator, start_emulator
from staged_samples import close, make_workspace, stage

from assets.sf_loaded import sf_loaded
from kpc.errors import OutcomeUnknown, QuotaExhausted, Terminal, Transient
from kpc.ledger import open_ledger
from kpc.partition import find_partition
from kpc.workspace import Workspace

SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
OBJECT, KEY = SUPPLIERS.table.target, "External_ID__c"
QUICK, ALL = 40, 2000
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
    """The emulator's admin door."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.http = httpx.Client(base_url=f"{emulator.facts['base_url']}/_emulator", trust_env=False)

    def arrange(self, faults: list[dict[str, Any]], switches: dict[str, Any]) -> None:
        self.http.delete("/faults").raise_for_status()
        self.http.patch("/switches", json=switches).raise_for_status()
        if faults:
            self.http.post("/faults", json=faults).raise_for_status()

    def history(self, after: int) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self.http.get("/history", params={"after": after}).raise_for_status().json()
        return answer

    def batches(self) -> int:
        return int(self.http.get("/").raise_for_status().json()["used_in_24_hours"]["batches"])


@pytest.fixture(scope="module")
def org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Org]:
    emulator = start_emulator(tmp_path_factory.mktemp("schedules"), "daily_batches=10000000")
    yield Org(emulator)
    emulator.stop()


@pytest.fixture(scope="module")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated ledger to copy: making one takes longer than a load."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    open_ledger(f"sqlite:///{path}").close()
    return path


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
            sf_loaded(SUPPLIERS, workspace)
        except (Transient, OutcomeUnknown, Terminal) as error:
            if isinstance(error, QuotaExhausted):
                workspace.ledger.unblock_jobs(workspace.environment.target_id)  # the hour is over
        else:
            return runs
    pytest.fail("the load does not come to its end")


def _survives(seed: int, org: Org, empty_ledger: Path, root: Path) -> None:
    choose = random.Random(seed)  # noqa: S311  repeatable, no secret
    root.mkdir(parents=True)
    shutil.copy(empty_ledger, root / "ledger.db")
    org.arrange([], {"lock_rows_every": 0})
    settings = org.emulator.settings
    settings.jobs_in_flight = choose.randint(1, 3)
    settings.collection_rows = choose.choice([0, 2000])
    settings.upload_encoding = choose.choice(["auto", "gzip", "identity"])  # type: ignore[assignment]
    workspace = make_workspace(root, settings, f"run-{seed}")
    rows = choose.randint(1, 12)
    keys = [f"seed{seed:05d}-{number:03d}" for number in range(rows)]
    stage(workspace, SUPPLIERS, keys, chunk_rows=choose.randint(2, 6))
    before = max([entry["number"] for entry in org.history(seen[-1] if seen else 0)], default=seen[-1] if seen else 0)
    batches = org.batches()
    faults = _bearable([_fault(choose) for _ in range(choose.randint(1, 4))])
    org.arrange(faults, {"lock_rows_every": choose.choice([0, 0, 3])})
    _load_until_done(workspace)
    org.arrange([], {"lock_rows_every": 0})
    _check(workspace, org, keys, before, org.batches() - batches, faults)
    seen.append(before)
    close(workspace)
    shutil.rmtree(root)


seen: list[int] = []  # history numbers: where the last schedule began


def _check(
    workspace: Workspace, org: Org, keys: list[str], before: int, batches: int, faults: list[dict[str, Any]]
) -> None:
    ledger, environment, where = workspace.ledger, workspace.environment, (keys[0], faults)
    writes = [entry for entry in org.history(before) if entry["object"] == OBJECT]
    inserts = Counter(entry["key"] for entry in writes if entry["operation"] == "insert")
    assert inserts == Counter(keys), where  # no row invented, lost or doubled
    in_org = [
        r[KEY] for r in workspace.salesforce.query(f"SELECT {KEY} FROM {OBJECT} WHERE {KEY} LIKE '{keys[0][:9]}%'")
    ]
    assert sorted(in_org) == keys, where
    if not any(fault["path"] in ("/composite/", "/services/data") for fault in faults):
        assert len(writes) == len(keys), where  # and none is sent twice, unless a collection's reply was lost
    index = workspace.store.partition_dir(environment, SUPPLIERS) / "loaded_index.parquet"
    assert sorted(pl.read_parquet(index)["external_id"]) == keys, where
    assert ledger.failed_records(environment, SUPPLIERS) == [], where
    assert ledger.jobs_in_flight(environment.target_id) == 0, where
    assert ledger.jobs_at_work(environment, SUPPLIERS) == [], where
    mine = {entry["source"] for entry in writes if entry["source"] != "REST"}
    assert all(ledger.is_known_job(environment.target_id, job_id) for job_id in mine), where
    assert batches <= ledger.quota_used(environment.target_id)[1], where  # nothing was used that was not debited
    assert ledger.verify_audit() == [], where


def test_schedules_of_faults_break_no_invariant(org: Org, empty_ledger: Path, tmp_path: Path) -> None:
    """The first 40 schedules."""
    with stamina.set_testing(testing=True, attempts=3):
        for seed in range(QUICK):
            _survives(seed, org, empty_ledger, tmp_path / str(seed))


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_two_thousand_schedules_break_no_invariant(org: Org, empty_ledger: Path, tmp_path: Path) -> None:
    """All 2,000 schedules."""
    with stamina.set_testing(testing=True, attempts=3):
        for seed in range(QUICK, ALL):
            _survives(seed, org, empty_ledger, tmp_path / str(seed))
