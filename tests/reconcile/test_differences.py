"""Every difference is listed with its cause, and the named command mends what sending again can mend."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import polars as pl
import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer, road_settings, start_oracle

from assets.reconciled import reconciled
from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.buckets import BUCKET
from kpc.errors import ConfigError, Mismatch
from kpc.ledger.states import StageState
from kpc.partition import find_partition
from kpc.reconcile.causes import DifferenceCause, read_keys
from kpc.reconcile.expected_rows import expected_rows
from kpc.reconcile.report import ReconciliationReport, last_report
from kpc.repair.send_again import mark_to_send_again
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.workspace import open_workspace

MONTH = find_partition("KPS_T_SALES_M", "2024-01")
OBJECT = MONTH.table.target


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "6000", "--months", "2024-01")
    yield server
    server.stop()


@pytest.fixture
def org(emulated: Callable[..., Emulator]) -> Emulator:
    return emulated()


@pytest.fixture
def loaded(source: OracleServer, org: Emulator, tmp_path: Path) -> Iterator[PartitionContext]:
    with open_workspace(road_settings(tmp_path, source.settings, org.settings), run_id="test", actor="test") as opened:
        context = PartitionContext(opened, MONTH)
        results_by_stage(context)
        yield context


def _change(context: PartitionContext, record: Mapping[str, object], **values: object) -> None:
    context.salesforce.tell("PATCH", f"/sobjects/{OBJECT}/{record['Id']}", values)


def _change_as_somebody_else(org: Emulator, record: Mapping[str, object], **values: object) -> str:
    """Returns the user's id."""
    address = org.facts["base_url"]
    user = httpx.post(f"{address}/_emulator/users", json={"username": "clerk@example.org"}, trust_env=False).json()
    path = f"{address}/services/data/v{org.settings.api_version}/sobjects/{OBJECT}/{record['Id']}"
    token = {"Authorization": f"Bearer {user['access_token']}"}
    assert httpx.patch(path, json=values, headers=token, trust_env=False).status_code == 204
    return str(user["user_id"])


def _lines(context: PartitionContext, report: ReconciliationReport) -> dict[str, dict[str, str]]:
    """The lines of the differences file by external id."""
    assert report.records is not None
    assert report.records.file is not None
    folder = context.paths.generation(report.generation).reconciled
    path = context.store.file(folder, report.records.file, remedy="")
    with path.open(encoding="utf-8", newline="") as file:
        return {line["External_ID__c"]: line for line in csv.DictReader(file)}


def _mismatch(context: PartitionContext) -> ReconciliationReport:
    with pytest.raises(Mismatch):
        reconciled.materialize(context)
    return last_report(context)


def test_each_difference_is_listed_with_its_cause_and_mended(loaded: PartitionContext, org: Emulator) -> None:
    """Lost, damaged, edited, moved, in a wrong bucket, invented: six records, six lines; five are sent again."""
    fields = "Id, External_ID__c, Migration_Partition__c"
    records = list(loaded.salesforce.query(f"SELECT {fields} FROM {OBJECT} ORDER BY External_ID__c LIMIT 5"))
    lost, damaged, edited, moved, misplaced = records
    loaded.salesforce.tell("DELETE", f"/sobjects/{OBJECT}/{lost['Id']}", {})
    _change(loaded, damaged, Net_Inc_Vat__c="0.01")
    clerk = _change_as_somebody_else(org, edited, Net_Inc_Vat__c="0.02")
    _change(loaded, moved, Migration_Partition__c="2031-01/000")
    other = "2024-01/001" if misplaced["Migration_Partition__c"] != "2024-01/001" else "2024-01/002"
    _change(loaded, misplaced, Migration_Partition__c=other)
    invented = {"External_ID__c": "INVENTED|1", "Migration_Partition__c": "2024-01/007"}
    made = httpx.post(
        f"{org.facts['base_url']}/services/data/v{org.settings.api_version}/sobjects/{OBJECT}",
        json=invented | _required(loaded),
        headers={"Authorization": f"Bearer {org.facts['access_token']}"},
        trust_env=False,
    )
    assert made.status_code == 201, made.text

    report = _mismatch(loaded)
    lines = _lines(loaded, report)
    found = {key: (line["cause"], line["fields"]) for key, line in lines.items()}
    assert found == {
        lost["External_ID__c"]: (DifferenceCause.LOST, ""),
        damaged["External_ID__c"]: (DifferenceCause.DAMAGED, "Net_Inc_Vat__c"),
        edited["External_ID__c"]: (DifferenceCause.EDITED, "Net_Inc_Vat__c"),
        moved["External_ID__c"]: (DifferenceCause.MOVED, ""),
        misplaced["External_ID__c"]: (DifferenceCause.DAMAGED, "Migration_Partition__c"),
        "INVENTED|1": (DifferenceCause.INVENTED, ""),
    }
    assert lines[str(edited["External_ID__c"])]["changed_by"] == clerk
    assert report.records is not None
    once = (DifferenceCause.LOST, DifferenceCause.EDITED, DifferenceCause.MOVED, DifferenceCause.INVENTED)
    assert report.records.causes == {DifferenceCause.DAMAGED: 2, **dict.fromkeys(once, 1)}

    assert report.records.file is not None
    file = loaded.paths.generation(report.generation).reconciled / report.records.file.name
    assert (file.stat().st_mode & 0o777) == 0o600
    assert mark_to_send_again(loaded, file) == 5
    loaded.salesforce.tell("DELETE", f"/sobjects/{OBJECT}/{made.json()['id']}", {})
    sent = results_by_stage(loaded)
    assert sent["staged_csv"].rows == sent["sf_loaded"].rows == 5
    assert sent["reconciled"].state == StageState.RECONCILED


def _required(context: PartitionContext) -> dict[str, object]:
    """Values for the fields without which no record can be made."""
    required = [column for column in MONTH.table.sent_columns if column.is_required]
    names = [column.field or "" for column in required]
    record = next(iter(context.salesforce.query(f"SELECT {', '.join(names)} FROM {OBJECT} LIMIT 1")))
    return {name: str(record[name]) for name in names}


def test_keys_can_be_named_one_per_line(loaded: PartitionContext, tmp_path: Path) -> None:
    """A file of a person's own; an empty one is refused with the file that is meant."""
    record = next(iter(loaded.salesforce.query(f"SELECT External_ID__c FROM {OBJECT} LIMIT 1")))
    file = tmp_path / "keys.txt"
    file.write_text(f"{record['External_ID__c']}\n\n{record['External_ID__c']}\n", encoding="utf-8")
    assert read_keys(file) == (record["External_ID__c"],)
    assert mark_to_send_again(loaded, file) == 1
    assert results_by_stage(loaded)["sf_loaded"].rows == 1
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="names no record"):
        mark_to_send_again(loaded, file)
    with pytest.raises(ConfigError, match="cannot be read"):
        mark_to_send_again(loaded, tmp_path / "nowhere.csv")


def test_a_killed_comparison_continues_with_the_buckets_that_are_left(loaded: PartitionContext, org: Emulator) -> None:
    """The third bulk query fails: what was compared before is not read again, and its difference is still found."""
    loaded.settings.reconcile.records_at_once = 300
    loaded.settings.salesforce.query_jobs_at_once = 1
    first = next(iter(loaded.salesforce.query(f"SELECT Id FROM {OBJECT} WHERE Migration_Partition__c = '2024-01/000'")))
    _change(loaded, first, Net_Inc_Vat__c="0.01")
    address, path = org.facts["base_url"], "/jobs/query$"
    fault = {"action": "status", "status": 400, "code": "INVALIDJOB", "method": "POST", "path": path, "skip": 2}
    httpx.post(f"{address}/_emulator/faults", json=fault | {"times": 1}, trust_env=False).raise_for_status()
    with pytest.raises(Exception, match="INVALIDJOB"):
        reconciled.materialize(loaded)
    httpx.delete(f"{address}/_emulator/faults", trust_env=False).raise_for_status()
    before = _query_jobs(loaded)
    report = _mismatch(loaded)
    assert report.records is not None
    assert report.records.resumed > 0
    assert report.records.compared == report.source_rows
    assert [fields for _, fields in report.records.changed_fields] == [("Net_Inc_Vat__c",)]
    resumed_jobs = _query_jobs(loaded) - before
    before = _query_jobs(loaded)
    again = _mismatch(loaded)
    assert again.records is not None
    assert again.records.resumed == 0
    assert resumed_jobs < _query_jobs(loaded) - before


def test_what_others_wrote_is_no_progress(loaded: PartitionContext, org: Emulator) -> None:
    """Files that say that all is equal, changed, or of another worker's secrets: every bucket is read."""
    loaded.settings.reconcile.records_at_once = 300
    first = next(iter(loaded.salesforce.query(f"SELECT Id FROM {OBJECT} WHERE Migration_Partition__c = '2024-01/000'")))
    _change(loaded, first, Net_Inc_Vat__c="0.01")
    address = org.facts["base_url"]
    fault = {"action": "status", "status": 400, "code": "INVALIDJOB", "method": "POST", "path": "/jobs/query$"}
    httpx.post(f"{address}/_emulator/faults", json=fault | {"skip": 3, "times": 1}, trust_env=False).raise_for_status()
    with pytest.raises(Exception, match="INVALIDJOB"):
        reconciled.materialize(loaded)
    httpx.delete(f"{address}/_emulator/faults", trust_env=False).raise_for_status()
    folder = loaded.paths.generation(sealed_extract(loaded).generation).reconciled / "progress"
    kept = sorted(folder.glob("*.json"))
    assert kept
    for path in kept:
        said = path.read_text(encoding="utf-8").replace('"changed_rows":1', '"changed_rows":0')
        path.write_text(re.sub(r'"equal":(\d+)', lambda found: f'"equal":{int(found[1]) + 1}', said), "utf-8")
        nothing = pl.read_parquet(path.with_suffix(".parquet")).clear()
        nothing.write_parquet(path.with_suffix(".parquet"))
    report = _mismatch(loaded)
    assert report.records is not None
    assert report.records.resumed == 0
    assert report.records.changed == 1


def _query_jobs(context: PartitionContext) -> int:
    jobs, _ = context.ledger.query_jobs.used(context.environment.target_id)
    return jobs


def test_a_sample_takes_as_many_records_of_each_bucket(loaded: PartitionContext) -> None:
    """Of 256 buckets with four records each 512 are wanted: two of each that has so many, and others the next time."""
    extract, folder = sealed_extract(loaded), loaded.paths.folder
    first, second = (expected_rows(loaded, extract, [], folder, sample_rows=512) for _ in range(2))
    wanted = [min(2, count) for count in first.counts]
    assert sum(wanted) > 400
    for drawn in (first.sample, second.sample):
        sizes = dict(drawn.group_by(BUCKET).len().iter_rows())
        assert [sizes.get(number, 0) for number in range(256)] == wanted
    assert set(first.sample[EXTERNAL_ID]) != set(second.sample[EXTERNAL_ID])
    assert expected_rows(loaded, extract, [], folder, sample_rows=10).sample.height == 10
