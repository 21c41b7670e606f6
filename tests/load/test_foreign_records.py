"""Pre-images in a large object that holds some records of others: those are counted, read once, and asked for by id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from emulated_org import Emulator
from staged_samples import close, fresh_keys, make_workspace, put_foreign, stage

from assets.sf_loaded import sf_loaded
from kpc.errors import ConfigError
from kpc.partition import find_partition
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
SCALE = 100_000  # a hundred records behave like ten million

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def org(emulated: Callable[..., Emulator]) -> Emulator:
    return emulated()


@pytest.fixture
def workspace(org: Emulator, tmp_path: Path) -> Iterator[Workspace]:
    """An org with 120 records of ours and 3 of others, as large as `SCALE` says. No chunk is small enough to be asked
    for key by key."""
    made = make_workspace(tmp_path, org.settings, "run-1")
    made.settings.salesforce.collection_rows = 0
    put_foreign(made, SUPPLIERS, FOREIGN)
    _load(made, OURS)
    made.settings.salesforce.scanned_rows = 1_000_000 // SCALE
    org.switch(scale=SCALE)
    httpx.delete(f"{org.facts['base_url']}/_emulator/queries", timeout=60, trust_env=False).raise_for_status()
    yield made
    close(made)


OURS, FOREIGN = fresh_keys(120), fresh_keys(3)


def _load(workspace: Workspace, keys: list[str], name: str = "ours") -> dict[str, int | str]:
    stage(workspace, SUPPLIERS, keys, values={key: {"Name_E__c": name} for key in keys}, chunk_rows=40)
    return sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail


def _reads(org: Emulator) -> list[dict[str, object]]:
    answer = httpx.get(f"{org.facts['base_url']}/_emulator/queries", timeout=60, trust_env=False).raise_for_status()
    return [query for query in answer.json() if "SELECT Id FROM" not in str(query["soql"])]


def test_foreign_records_are_listed_once_and_their_pre_images_read_by_key(workspace: Workspace, org: Emulator) -> None:
    """Four chunks, one of them with keys of others: one bulk query over ranges of ids, then one query by key."""
    detail = _load(workspace, [*OURS, *FOREIGN], "second")
    assert detail["pre_image"] == 3
    by_api = {api: [query for query in _reads(org) if query["api"] == api] for api in ("bulk", "rest")}
    (whole,) = by_api["bulk"]
    assert "LIMIT" not in str(whole["soql"])
    assert whole["end"] == "ok"
    (by_key,) = by_api["rest"]
    assert by_key["is_selective"]
    assert " IN (" in str(by_key["soql"])


def test_after_a_day_they_are_read_again(workspace: Workspace, org: Emulator) -> None:
    """Others may have created more in the meantime."""
    _load(workspace, OURS, "second")
    _load(workspace, OURS, "third")
    assert len([query for query in _reads(org) if query["api"] == "bulk"]) == 1
    workspace.clock = lambda now=workspace.clock: now() + timedelta(hours=25)  # type: ignore[misc]
    _load(workspace, OURS, "fourth")
    assert len([query for query in _reads(org) if query["api"] == "bulk"]) == 2


def test_too_many_are_refused_before_anything_is_sent(workspace: Workspace, org: Emulator) -> None:
    """With both ways out; the millions of an earlier migration must not be copied by mistake."""
    workspace.settings.load.pre_image_rows = 1
    jobs = len(list(workspace.salesforce.list_jobs()))
    with pytest.raises(ConfigError, match=r"KPC__LOAD__PRE_IMAGE_ROWS.*KPC__LOAD__PRE_IMAGE=off"):
        _load(workspace, [*OURS, *FOREIGN], "second")
    assert len(list(workspace.salesforce.list_jobs())) == jobs
