"""A large partition is counted, summed and read back by queries that the index of its markers serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer, road_settings, start_oracle

from assets.reconciled import reconciled
from kpc.errors import Mismatch
from kpc.partition import find_partition
from kpc.reconcile.report import last_report
from kpc.reconcile.totals import aggregates_soql
from kpc.salesforce import QueryTooLong
from kpc.stages.bucket_queries import BucketGroup, grouped
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace, open_workspace

SCALE = 10_000  # some 2,000 headers a month behave like 20 million
JANUARY, FEBRUARY = (find_partition("KPS_T_SALES_M", key) for key in ("2024-01", "2024-02"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "20000", "--months", "2024-01,2024-02")
    yield server
    server.stop()


@pytest.fixture
def org(emulated: Callable[..., Emulator]) -> Emulator:
    return emulated()


@pytest.fixture
def workspace(source: OracleServer, org: Emulator, tmp_path: Path) -> Iterator[Workspace]:
    """Both months, in an org that behaves as one of that size; the client's limits are divided by the same number."""
    settings = road_settings(tmp_path, source.settings, org.settings)
    with open_workspace(settings, run_id="test", actor="test") as opened:
        for partition in (JANUARY, FEBRUARY):
            results_by_stage(PartitionContext(opened, partition))
        org.switch(scale=SCALE)
        opened.settings.salesforce.indexed_rows //= SCALE
        opened.settings.salesforce.scanned_rows //= SCALE
        _forget(org)
        yield opened


def _queries(org: Emulator) -> list[dict[str, object]]:
    answer = httpx.get(f"{org.facts['base_url']}/_emulator/queries", timeout=60, trust_env=False)
    found: list[dict[str, object]] = answer.raise_for_status().json()
    return [query for query in found if query["object"] == JANUARY.table.target]


def _forget(org: Emulator) -> None:
    httpx.delete(f"{org.facts['base_url']}/_emulator/queries", timeout=60, trust_env=False).raise_for_status()


def _used(workspace: Workspace) -> tuple[int, int]:
    """Query jobs of the last 24 h and bytes of their results, as the ledger counts them."""
    return workspace.ledger.query_jobs.used(workspace.environment.target_id)


def test_the_org_computes_its_aggregates_while_its_records_are_read(workspace: Workspace, org: Emulator) -> None:
    """The first bulk query begins before the last aggregates of a group, each of which takes a tenth of a second."""
    org.switch(index_records_per_s=300.0, query_timeout_s=0)
    result = reconciled.materialize(PartitionContext(workspace, JANUARY), level3="full")
    assert result.state == "reconciled"
    asked = ["aggregates" if "GROUP BY" in str(query["soql"]) else str(query["api"]) for query in _queries(org)]
    assert asked.count("aggregates") > 10
    assert asked.index("bulk") < len(asked) - 1 - asked[::-1].index("aggregates")


def test_each_query_of_a_month_is_served_by_the_index(workspace: Workspace, org: Emulator) -> None:
    """Counts, sums and every record of a month, in an object of 36 million: no query reads the object."""
    used = _used(workspace)
    result = reconciled.materialize(PartitionContext(workspace, JANUARY), level3="full")
    assert result.state == "reconciled"
    assert result.detail["records_compared"] == result.detail["source_rows"] > 1_000
    queries = _queries(org)
    assert {query["api"] for query in queries} == {"rest", "bulk"}
    assert [query for query in queries if not query["is_selective"]] == []
    assert [query for query in queries if query["sub_queries"] not in (0, 1)] == []
    jobs, raw_bytes = (now - before for now, before in zip(_used(workspace), used, strict=True))
    assert jobs == len([query for query in queries if query["api"] == "bulk"])
    assert raw_bytes > 100 * jobs


def test_a_month_at_once_is_too_much(workspace: Workspace) -> None:
    """What a reconciliation without buckets asked: the org ends both queries for their time."""
    salesforce, table = workspace.salesforce, JANUARY.table
    with pytest.raises(QueryTooLong):
        list(
            salesforce.query(
                f"SELECT {aggregates_soql(table)} FROM {table.target} WHERE Migration_Partition__c LIKE '2024-01/%'"
            )
        )


def test_a_group_that_takes_too_long_is_divided(
    workspace: Workspace, org: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """With too high a limit in the settings the org ends queries; they are halved, and all is proven."""
    workspace.settings.salesforce.indexed_rows = 40 * workspace.settings.salesforce.indexed_rows
    result = reconciled.materialize(PartitionContext(workspace, JANUARY), level3="full")
    assert result.state == "reconciled"
    assert "took too long; splitting it" in caplog.text
    assert not all(query["is_selective"] for query in _queries(org))


def test_a_record_with_another_buckets_marker_is_found(workspace: Workspace) -> None:
    """Its values are right, its bucket is not: it would be counted, read and rolled back with other records."""
    target = JANUARY.table.target
    found = workspace.salesforce.query(
        f"SELECT Id, External_ID__c, Migration_Partition__c FROM {target} WHERE Migration_Partition__c LIKE '2024-01/%'"
        " LIMIT 1"
    )
    record = next(iter(found))
    wrong = "2024-01/001" if record["Migration_Partition__c"] != "2024-01/001" else "2024-01/002"
    workspace.salesforce.tell("PATCH", f"/sobjects/{target}/{record['Id']}", {"Migration_Partition__c": wrong})
    context = PartitionContext(workspace, JANUARY)
    with pytest.raises(Mismatch):
        reconciled.materialize(context, level3="full")
    report = last_report(context)
    assert report.verdict(1) == "pass"
    assert report.records is not None
    assert report.records.changed_fields == ((record["External_ID__c"], ("Migration_Partition__c",)),)
    assert (report.records.missing, report.records.surplus) == (0, 0)


def test_groups_hold_at_most_what_the_index_serves() -> None:
    """Neighbouring buckets together; one that is larger than the limit stands alone; none is left out."""
    expected = [("a", 40), ("b", 50), ("c", 20), ("d", 500), ("e", 0), ("f", 1)]
    groups = grouped(expected, 100)
    assert groups == [
        BucketGroup(("a", "b"), 90),
        BucketGroup(("c",), 20),
        BucketGroup(("d",), 500),
        BucketGroup(("e", "f"), 1),
    ]
    assert grouped(expected, None) == [BucketGroup(("a", "b", "c", "d", "e", "f"), 611)]
