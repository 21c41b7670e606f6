"""What Oracle changed since the extract is told beside each difference, and excuses none."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer, road_settings, start_oracle

from assets.reconciled import reconciled
from kpc.errors import Mismatch
from kpc.partition import find_partition
from kpc.reconcile.causes import DifferenceCause
from kpc.reconcile.present_rows import SinceExtract
from kpc.reconcile.report import last_report
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import open_workspace

MONTH = find_partition("KPS_T_SALES_M", "2024-01")
TABLE, OBJECT = MONTH.table.name, MONTH.table.target


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "1500", "--months", "2024-01")
    yield server
    server.stop()


@pytest.fixture
def loaded(source: OracleServer, emulated: Callable[..., Emulator], tmp_path: Path) -> Iterator[PartitionContext]:
    settings = road_settings(tmp_path, source.settings, emulated().settings)
    with source.without_faults(), open_workspace(settings, run_id="test", actor="test") as opened:
        context = PartitionContext(opened, MONTH)
        results_by_stage(context)
        yield context


def _found(context: PartitionContext) -> dict[str, tuple[str, str]]:
    """Cause, and what Oracle holds now, by external id."""
    with pytest.raises(Mismatch):
        reconciled.materialize(context)
    report = last_report(context)
    assert report.records is not None
    assert report.records.file is not None
    path = context.paths.generation(report.generation).reconciled / report.records.file.name
    with path.open(encoding="utf-8", newline="") as file:
        return {line["External_ID__c"]: (line["cause"], line["oracle_now"]) for line in csv.DictReader(file)}


def _address(record: dict[str, object]) -> str:
    return f"/sobjects/{OBJECT}/{record['Id']}"


def _where(external_id: object) -> str:
    return " AND ".join(
        f"{name} = '{part.ljust(2) if name == 'CON_CODE' else part}'"
        for name, part in zip(MONTH.table.key, str(external_id).split("|"), strict=True)
    )


def test_what_oracle_changed_since_stands_beside_the_difference(loaded: PartitionContext, source: OracleServer) -> None:
    """Changed, deleted, inserted, and not at all: the partition stays a mismatch, and each record is listed."""
    query = f"SELECT Id, External_ID__c FROM {OBJECT} ORDER BY External_ID__c LIMIT 5"
    damaged, stale, followed, gone, spare = loaded.salesforce.query(query)
    for record, amount in ((damaged, "0.01"), (stale, "0.02"), (followed, "77.70")):
        loaded.salesforce.tell("PATCH", _address(record), {"Net_Inc_Vat__c": amount})
    loaded.salesforce.tell("DELETE", _address(gone), {})
    columns = ", ".join(column.name for column in MONTH.table.columns if column.name != "SALE_NO")
    source.execute(
        f"UPDATE {TABLE} SET NET_INC_VAT = 3 WHERE {_where(stale['External_ID__c'])}",
        f"UPDATE {TABLE} SET NET_INC_VAT = 77.7 WHERE {_where(followed['External_ID__c'])}",
        f"DELETE FROM {TABLE} WHERE {_where(gone['External_ID__c'])}",
        f"INSERT INTO {TABLE} (SALE_NO, {columns}) SELECT 'NEW-1', {columns} FROM {TABLE} "
        f"WHERE {_where(spare['External_ID__c'])}",
    )
    inserted = _with_sale(spare["External_ID__c"], "NEW-1")
    invented = _with_sale(spare["External_ID__c"], "NOBODY")
    made = loaded.salesforce.query(f"SELECT FIELDS(ALL) FROM {OBJECT} WHERE Id = '{spare['Id']}' LIMIT 1")
    values = {name: value for name, value in next(iter(made)).items() if name in _sent()}
    for external_id in (inserted, invented):
        body = {
            **{name: str(value) for name, value in values.items() if value is not None},
            "External_ID__c": external_id,
        }
        loaded.salesforce.tell("POST", f"/sobjects/{OBJECT}", body)

    assert _found(loaded) == {
        damaged["External_ID__c"]: (DifferenceCause.DAMAGED, SinceExtract.UNCHANGED),
        stale["External_ID__c"]: (DifferenceCause.DAMAGED, SinceExtract.CHANGED),
        followed["External_ID__c"]: (DifferenceCause.DAMAGED, SinceExtract.FOLLOWED),
        gone["External_ID__c"]: (DifferenceCause.LOST, SinceExtract.DELETED),
        inserted: (DifferenceCause.INVENTED, SinceExtract.INSERTED),
        invented: (DifferenceCause.INVENTED, SinceExtract.ABSENT),
    }
    report = last_report(loaded)
    assert report.records is not None
    moved = (SinceExtract.CHANGED, SinceExtract.FOLLOWED, SinceExtract.DELETED, SinceExtract.INSERTED)
    assert report.records.since == dict.fromkeys(moved, 1)
    assert (report.state, report.records.changed, report.records.missing, report.records.surplus) == (
        "mismatch",
        3,
        1,
        2,
    )

    loaded.settings.oracle.window = "00:00-00:01" if loaded.clock().hour else "12:00-12:01"
    assert {now for _, now in _found(loaded).values()} == {""}
    loaded.settings.oracle.window = ""
    source.fault("error", 942, table=TABLE)
    assert {now for _, now in _found(loaded).values()} == {""}


def _sent() -> set[str]:
    return {column.field or "" for column in MONTH.table.sent_columns} | {"Migration_Partition__c"}


def _with_sale(external_id: object, sale_no: str) -> str:
    parts = str(external_id).split("|")
    parts[list(MONTH.table.key).index("SALE_NO")] = sale_no
    return "|".join(parts)
