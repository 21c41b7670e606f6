"""What may not change within a campaign: pinned when first used, compared ever after, changed only on purpose."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from staged_samples import SampleWorkspace, close, make_workspace

from kpc.catalog import TABLES, find_table
from kpc.errors import ConfigError
from kpc.partition import find_partition
from kpc.settings import SalesforceSettings
from kpc.stages.campaign_constants import check_constants, constants_for, require_hash_key
from kpc.stages.context import PartitionContext
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, SF_LOADED, STAGED_CSV, STAGES

HEADERS = find_partition("KPS_T_SALES_M", "2024-01")
SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
KEY = "the-key-of-this-campaign-0123456789"


@pytest.fixture
def campaign(
    tmp_path: Path, salesforce: SalesforceSettings, request: pytest.FixtureRequest
) -> Callable[[str], SampleWorkspace]:
    """A worker of the same campaign with the given hash key."""

    def worker(key: str = KEY) -> SampleWorkspace:
        made = make_workspace(tmp_path, salesforce, "run-1")
        made.settings.hash_key = SecretStr(key)
        request.addfinalizer(lambda: close(made))
        return made

    return worker


def _check(workspace: SampleWorkspace, stage: str = STAGED_CSV) -> None:
    check_constants(PartitionContext(workspace, HEADERS), stage)


def _pinned(workspace: SampleWorkspace) -> dict[str, str]:
    return {each.name: each.fingerprint for each in workspace.ledger.constants.all(workspace.environment)}


def test_the_first_use_pins(campaign: Callable[..., SampleWorkspace]) -> None:
    """The key as a salted, slow hash; external ids only from the first load on."""
    worker = campaign()
    _check(worker)
    pinned = _pinned(worker)
    assert set(pinned) == {"hash_key", "time_zone"}
    assert KEY not in str(pinned)
    assert pinned["hash_key"].startswith("pbkdf2-sha256$100000$")
    assert pinned["time_zone"] == "UTC+07:00"
    _check(worker, SF_LOADED)
    assert set(_pinned(worker)) == {"hash_key", "time_zone", "external_id:kps_t_sales_m"}


@pytest.mark.parametrize("stage", STAGES)
def test_another_key_is_refused_at_every_stage(campaign: Callable[..., SampleWorkspace], stage: str) -> None:
    """With the setting, the date and the way to change it; the right key goes on."""
    _check(campaign())
    with pytest.raises(ConfigError, match=r"KPC__HASH_KEY.*began with.*kpc constants adopt hash_key"):
        _check(campaign("another-key-of-another-campaign-01"), stage)
    _check(campaign(), stage)


def test_a_table_without_hashed_columns_needs_no_key(campaign: Callable[..., SampleWorkspace]) -> None:
    worker = campaign("")
    require_hash_key(PartitionContext(worker, SUPPLIERS))
    check_constants(PartitionContext(worker, SUPPLIERS), ORACLE_EXTRACT)
    with pytest.raises(ConfigError, match="KPC__HASH_KEY"):
        require_hash_key(PartitionContext(worker, HEADERS))


def test_of_two_workers_that_start_at_once_one_wins(campaign: Callable[..., SampleWorkspace]) -> None:
    """Eight workers with eight keys: one key is pinned, and all others are refused."""
    workers = [campaign(f"key-number-{number}-0123456789012345") for number in range(8)]
    begin, refused = threading.Barrier(len(workers)), []

    def start(worker: SampleWorkspace) -> None:
        begin.wait()
        try:
            _check(worker)
        except ConfigError:
            refused.append(worker)

    threads = [threading.Thread(target=start, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == len(workers) - 1


def test_every_table_has_a_composition_of_its_own() -> None:
    """Another key column is another constant value; the number of tables does not matter."""
    names = {constant.name for table in TABLES.values() for constant in constants_for(table, KEY)}
    assert len(names) == len(TABLES) + 2
    table = find_table("KPS_T_SALES_M")
    shorter = replace(table, key=table.key[:-1], lookups=(), month_column=None)
    before = {each.name: each for each in constants_for(table, KEY)}["external_id:kps_t_sales_m"]
    after = {each.name: each for each in constants_for(shorter, KEY)}["external_id:kps_t_sales_m"]
    assert not after.has(before.fingerprint())


def test_a_pinned_constant_is_compared_after_the_first_load(campaign: Callable[..., SampleWorkspace]) -> None:
    worker = campaign()
    _check(worker, SF_LOADED)
    worker.ledger.constants.replace(worker.environment, "external_id:kps_t_sales_m", "0123", actor="x", run_id="y")
    for stage in (STAGED_CSV, RECONCILED):
        with pytest.raises(ConfigError, match=r"key of KPS_T_SALES_M in kpc/catalog.*kpc rollback KPS_T_SALES_M"):
            _check(campaign(), stage)
