"""The object as a whole: what bears no marker of a reconciled partition is found, listed, and decided by a person."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer
from staged_samples import put_foreign

from kpc.campaign.completeness import completeness, counted_completeness
from kpc.campaign.plan import plan_campaign
from kpc.campaign.sign_off import sign_off
from kpc.catalog import Phase, find_table
from kpc.errors import ConfigError, QuotaExhausted
from kpc.partition import find_partition
from kpc.reconcile.whole_object import check_object
from kpc.salesforce.id_ranges import count_by_ids
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

TABLE = find_table("KPS_R_EMAIL_TENANT")
PARTITION = find_partition(TABLE.name, "ALL")


@pytest.fixture
def org(emulated: Callable[..., Emulator]) -> Emulator:
    return emulated()


@pytest.fixture
def loaded(oracle: OracleServer, org: Emulator, workspaces: Callable[..., Workspace]) -> Workspace:
    workspace = workspaces(oracle, org.settings)
    plan_campaign(workspace, (TABLE,), (), "full")
    results_by_stage(PartitionContext(workspace, PARTITION))
    return workspace


MARKERS = ("#N/A", "?", "2024-01/000", "ALL/001", "ALL/0000", "ALL")


def test_nothing_unknown_is_found_where_there_is_nothing(loaded: Workspace) -> None:
    """The partitions make up the object; the phase is complete once it was counted."""
    found = completeness(Phase.REFERENCE, loaded)
    assert found is not None
    assert "`kpc reconcile KPS_R_EMAIL_TENANT`" in found.summary
    counted = counted_completeness(Phase.REFERENCE, loaded)
    assert counted is not None
    assert counted.is_complete, counted.summary
    assert loaded.ledger.audit.verify() == []


@pytest.mark.parametrize("marker", MARKERS)
def test_a_record_with_another_marker_is_listed(loaded: Workspace, marker: str) -> None:
    """Empty, unknown, of another table's partition, of a bucket that the table has not: none is counted as ours."""
    put_foreign(loaded, PARTITION, ["INVENTED|1"], Migration_Partition__c=marker)
    found = check_object(loaded, TABLE)
    assert (found.unknown, found.is_accounted_for) == (1, True)
    (record,) = found.detail["first"]
    assert record["External_ID__c"] == "INVENTED|1"
    assert record["CreatedById"] == loaded.salesforce.user_id
    assert record["CreatedDate"]
    with pytest.raises(ConfigError, match="1 records of unknown origin"):
        sign_off("reference", None, loaded, accepts=True, note="")


def test_a_person_accepts_exactly_these_records(loaded: Workspace) -> None:
    """With a reason; one more record needs another decision."""
    put_foreign(loaded, PARTITION, ["INVENTED|1"], Migration_Partition__c="?")
    check_object(loaded, TABLE)
    with pytest.raises(ConfigError, match=r"needs its reason"):
        sign_off(TABLE.name, "FOREIGN", loaded, accepts=True, note="")
    sign_off(TABLE.name, "FOREIGN", loaded, accepts=True, note="of the pilot")
    assert sign_off("reference", None, loaded, accepts=True, note="").decision == "accepted"
    put_foreign(loaded, PARTITION, ["INVENTED|2"], Migration_Partition__c="?")
    check_object(loaded, TABLE)
    with pytest.raises(ConfigError, match="2 records of unknown origin"):
        sign_off("reference", None, loaded, accepts=True, note="")


def test_a_deleted_record_does_not_hide_behind_a_foreign_one(loaded: Workspace) -> None:
    """One lost and one invented leave the count as it was; the numbers still do not add up."""
    target = TABLE.target
    record = next(iter(loaded.salesforce.query(f"SELECT Id FROM {target} LIMIT 1")))
    loaded.salesforce.tell("DELETE", f"/sobjects/{target}/{record['Id']}", {})
    put_foreign(loaded, PARTITION, ["INVENTED|1"], Migration_Partition__c="?")
    found = check_object(loaded, TABLE)
    assert found.records == found.expected
    assert not found.is_accounted_for
    with pytest.raises(ConfigError, match="compare the partitions again"):
        sign_off("reference", None, loaded, accepts=True, note="")


def test_a_partition_that_was_not_compared_comes_first(loaded: Workspace) -> None:
    """Its records cannot be accounted for yet."""
    from assets.sf_loaded import sf_loaded

    sf_loaded.materialize(PartitionContext(loaded, PARTITION))
    with pytest.raises(ConfigError, match=r"`kpc reconcile KPS_R_EMAIL_TENANT ALL`"):
        check_object(loaded, TABLE)


@pytest.mark.parametrize("range_rows", [1, 7, 100, 100_000])
def test_ranges_of_ids_count_every_record_once(loaded: Workspace, range_rows: int) -> None:
    """Whatever the width: ids have gaps and come from several pods, and a range beyond the limit is halved."""
    counted = count_by_ids(loaded.salesforce, TABLE.target, range_rows)
    assert counted.records == loaded.salesforce.count(TABLE.target) > 50
    assert counted.ranges <= 60 + counted.records


def test_an_empty_object_has_no_range(loaded: Workspace) -> None:
    """Nothing is counted, and nothing fails."""
    assert count_by_ids(loaded.salesforce, find_table("KPS_T_PREINV").target).records == 0


def test_a_large_object_is_counted_by_ranges(loaded: Workspace, org: Emulator) -> None:
    """As large as 5 billion records: COUNT() of the whole is ended for its time, the ranges are not."""
    rows = loaded.salesforce.count(TABLE.target)
    org.switch(scale=100_000_000 // rows)
    loaded.settings.salesforce.scanned_rows = 10
    loaded.settings.salesforce.indexed_rows = 4
    found = check_object(loaded, TABLE)
    assert (found.records, found.unknown) == (rows, 0)


def test_query_jobs_beyond_the_allowance_are_not_begun(loaded: Workspace) -> None:
    """The ledger counts them over 24 h, and says when there is room again."""
    loaded.settings.salesforce.daily_query_jobs = loaded.ledger.query_jobs.used(loaded.environment.target_id)[0]
    with pytest.raises(QuotaExhausted, match=r"query jobs.*Reconcile again after"):
        check_object(loaded, TABLE)
