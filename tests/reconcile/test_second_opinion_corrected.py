"""Oracle's second opinion of corrected records: the other fields, the given value and the replaced one."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from emulated_org import Emulator
from oracle_source import OracleServer

from assets.oracle_extract import oracle_extract
from assets.reconciled import reconciled
from assets.sf_loaded import sf_loaded
from assets.staged_csv import staged_csv
from kpc.errors import Mismatch
from kpc.partition import find_partition
from kpc.reconcile.report import last_report
from kpc.reconcile.second_opinion.result import DIFFERING, SecondOpinion
from kpc.repair.corrections import corrections_of
from kpc.repair.refused_rows import export_refused
from kpc.repair.send_refused import send_refused
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

PARTITION = find_partition("KPS_WEB_SALES", "ALL")
TABLE = PARTITION.table
Workspaces = Callable[..., Workspace]
GIVEN = {"Email__c": "corrected@example.org", "Customer_Name__c": "Corrected", "Total_Amt__c": "123.45"}


@pytest.fixture
def corrected(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Workspaces, tmp_path: Path
) -> tuple[PartitionContext, str]:
    """All rows were refused at first; of one a person changed a hashed field, a text and an amount. And its key."""
    org = emulated()
    workspace = workspaces(oracle, org.settings)
    workspace.settings.salesforce.org_error_rows = 100_000
    context = PartitionContext(workspace, PARTITION)
    for stage in (oracle_extract, staged_csv):
        stage.materialize(context)
    org.switch(refuse_rows="INSUFFICIENT_ACCESS_OR_READONLY")
    sf_loaded.materialize(context)
    org.switch(refuse_rows="")
    exported, edited = tmp_path / "exported.csv", tmp_path / "edited.csv"
    export_refused([context], TABLE, exported)
    with exported.open(encoding="utf-8-sig", newline="") as text:
        row = next(csv.DictReader(text))
    with edited.open("w", encoding="utf-8", newline="") as text:
        writer = csv.DictWriter(text, list(row))
        writer.writeheader()
        writer.writerow(row | GIVEN)
    send_refused(context, corrections_of(edited, TABLE, [context], ",".join(GIVEN))["ALL"])
    send_refused(context)
    return context, row["External_ID__c"].removeprefix("'")


def opinion_of(context: PartitionContext) -> SecondOpinion:
    found = last_report(context).second_opinion
    assert found is not None
    return found


def test_corrected_records_are_compared_too(corrected: tuple[PartitionContext, str]) -> None:
    """None is left out, and a wrong value in a field that nobody corrected is found, as in one that somebody did."""
    context, key = corrected
    made = reconciled.materialize(context)
    opinion = opinion_of(context)
    assert (opinion.compared, opinion.corrected, opinion.excepted, opinion.differing) == (made.rows, 1, 0, 0)
    assert "(1 of them corrected by a person)" in str(opinion)
    record = next(iter(context.salesforce.query(f"SELECT Id FROM {TABLE.target} WHERE External_ID__c = '{key}'")))
    for changed, former in (({"Vat_Amt__c": 0.01}, {}), (GIVEN | {"Total_Amt__c": 123.46}, GIVEN)):
        context.salesforce.tell("PATCH", f"/sobjects/{TABLE.target}/{record['Id']}", {**former, **changed})
        with pytest.raises(Mismatch, match=DIFFERING):
            reconciled.materialize(context)
        assert [one.key for one in opinion_of(context).differences] == [key]
