"""An update that the org refuses leaves the former value, which is known: an exception, not a mismatch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer, start_oracle

from assets.reconciled import reconciled
from kpc.errors import Mismatch
from kpc.partition import Partition, find_partition
from kpc.reconcile.report import ReconciliationReport, last_report
from kpc.repair.corrections import corrections_of
from kpc.repair.refused_rows import export_refused
from kpc.repair.send_refused import send_refused
from kpc.rollback.partition_rollback import roll_back
from kpc.stages.context import PartitionContext
from kpc.stages.result import StageResult
from kpc.stages.workspace import Workspace

APPROVALS = find_partition("KPS_T_SALES_APPRV", "ALL")
ADDRESSES = find_partition("KPS_R_EMAIL_TENANT", "ALL")
TRIGGER = "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
EXCEPTIONS = "reconciled_with_exceptions"

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    """A source that the tests of this module change; each begins with an org of its own."""
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "1500", "--months", "2024-01")
    yield server
    server.stop()


@dataclass
class Migration:
    """A loaded table, its source and its org."""

    source: OracleServer
    org: Emulator
    workspace: Workspace

    def context(self, partition: Partition = APPROVALS) -> PartitionContext:
        return PartitionContext(self.workspace, partition)

    def run(self, partition: Partition = APPROVALS, mode: str = "incremental") -> StageResult:
        """All four stages; raises `Mismatch`."""
        return results_by_stage(self.context(partition), mode=mode)["reconciled"]

    def run_refused(self, partition: Partition = APPROVALS) -> StageResult:
        """The same while a trigger refuses every row."""
        self.org.switch(refuse_rows=TRIGGER)
        try:
            return self.run(partition)
        finally:
            self.org.switch(refuse_rows="")

    def compare(self, partition: Partition = APPROVALS, level3: str = "") -> StageResult:
        return reconciled.materialize(self.context(partition), level3=level3)

    def report(self, partition: Partition = APPROVALS) -> ReconciliationReport:
        return last_report(self.context(partition))

    def approvals(self) -> list[str]:
        """The numbers of all approvals, in order."""
        with self.source.connect() as connection:
            rows = connection.cursor().execute("select APPRV_NO from KPS_T_SALES_APPRV order by APPRV_NO").fetchall()
        return [row[0] for row in rows]

    def add(self, number: str, amount: int) -> None:
        """Change an approval's amount in Oracle."""
        self.source.execute(
            f"update KPS_T_SALES_APPRV set TOTAL_AMT = TOTAL_AMT + {amount} where APPRV_NO = '{number}'"
        )

    def record(self, number: str, partition: Partition = APPROVALS) -> dict[str, object]:
        """The org's record whose external id holds the number."""
        fields = ", ".join(column.field or "" for column in partition.table.sent_columns)
        query = f"SELECT Id, External_ID__c, {fields} FROM {partition.table.target}"
        (found,) = (r for r in self.workspace.salesforce.query(query) if number in str(r["External_ID__c"]).split("|"))
        return found

    def change(self, number: str, partition: Partition = APPROVALS, **fields: object) -> None:
        """What somebody else changes in the org."""
        place = f"/sobjects/{partition.table.target}/{self.record(number, partition)['Id']}"
        self.workspace.salesforce.tell("PATCH", place, fields)


@pytest.fixture
def loaded(source: OracleServer, emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]) -> Migration:
    """Approvals that arrived."""
    org = emulated()
    migration = Migration(source, org, workspaces(source, org.settings))
    assert migration.run().state == "reconciled"
    return migration


def test_refused_update_is_an_exception_and_its_former_value_is_shown(loaded: Migration) -> None:
    """All levels expect the former value; the report names the record, the field and both amounts."""
    number = loaded.approvals()[0]
    former = loaded.record(number)
    loaded.add(number, 5)
    proof = loaded.run_refused()
    assert (proof.state, proof.detail["exceptions"], proof.detail["kept"]) == (EXCEPTIONS, 1, 1)
    assert [proof.detail[f"level{level}"] for level in (1, 2, 3)] == ["pass"] * 3
    (kept,) = loaded.report().kept_records
    assert (kept.key, kept.fields) == (former["External_ID__c"], ("Total_Amt__c",))
    ((_, before, after),) = kept.measures
    assert float(str(after)) - float(str(before)) == 5
    excepted = {number.measure: number.excepted for number in loaded.report().comparisons}
    assert (excepted["rows"], excepted["TOTAL_AMT sum"], excepted["records with equal checksum"]) == (0, 5, 1)
    index = pl.read_parquet(loaded.context().paths.loaded_index)
    known = index.filter(pl.col("external_id") == kept.key)["checksum"].to_list()
    assert [f"{checksum:016x}" for checksum in known] == [kept.former_checksum]


def test_sent_again_it_is_reconciled(loaded: Migration) -> None:
    """Once the org takes the update, nothing is an exception any more."""
    loaded.add(loaded.approvals()[0], 5)
    loaded.run_refused()
    assert send_refused(loaded.context()).loaded == 1
    assert loaded.compare().state == "reconciled"


@pytest.mark.parametrize("whose", ["the refused record", "another record"])
@pytest.mark.parametrize("field", ["Total_Amt__c", "Apprv_By__c"])
@pytest.mark.parametrize("level3", ["full", "sample"])
def test_wrong_record_is_still_a_mismatch(loaded: Migration, whose: str, field: str, level3: str) -> None:
    """Neither the former nor the new value: found in a measured field and in any other, also by a sample."""
    refused, other = loaded.approvals()[:2]
    loaded.add(refused, 5)
    loaded.run_refused()
    loaded.workspace.settings.reconcile.sample_rows = 1 if whose == "the refused record" else 5000
    wrong = refused if whose == "the refused record" else other
    loaded.change(wrong, **{field: 987654.32 if field == "Total_Amt__c" else "Somebody"})
    with pytest.raises(Mismatch):
        loaded.compare(level3=level3)
    records = loaded.report().records
    assert records is not None
    ((key, fields),) = records.changed_fields
    assert key.split("|")[-1] == wrong
    assert field in fields


def test_deleted_record_of_a_refused_update_is_a_mismatch(loaded: Migration) -> None:
    """The former value was known to be there: a record that is gone is missing, and a full load brings it back."""
    number = loaded.approvals()[0]
    loaded.add(number, 5)
    loaded.run_refused()
    loaded.workspace.salesforce.tell("DELETE", f"/sobjects/{APPROVALS.table.target}/{loaded.record(number)['Id']}", {})
    with pytest.raises(Mismatch):
        loaded.compare()
    records = loaded.report().records
    assert records is not None
    assert (records.missing, loaded.report().kept) == (1, 0)
    assert loaded.run(mode="full").state == "reconciled"


def test_new_value_written_by_somebody_is_accepted(loaded: Migration) -> None:
    """The record then holds what Oracle holds; the row stays listed until it is sent again."""
    number = loaded.approvals()[0]
    loaded.add(number, 5)
    loaded.run_refused()
    former = float(str(loaded.record(number)["Total_Amt__c"]))
    loaded.change(number, Total_Amt__c=round(former + 5, 2))
    proof = loaded.compare()
    assert (proof.state, proof.detail.get("kept")) == (EXCEPTIONS, None)


def test_new_row_refused_beside_it_is_missing(loaded: Migration) -> None:
    """One is expected with its former value, the other is not expected at all."""
    number = loaded.approvals()[0]
    loaded.add(number, 7)
    loaded.source.execute(
        "insert into KPS_T_SALES_APPRV (CON_CODE, SHOP_CODE, APPRV_NO, TOTAL_AMT) values ('C1', 'S1', 'NEW-1', 100)"
    )
    try:
        proof = loaded.run_refused()
        assert (proof.state, proof.detail["exceptions"], proof.detail["kept"]) == (EXCEPTIONS, 2, 1)
        excepted = {number.measure: number.excepted for number in loaded.report().comparisons}
        assert (excepted["rows"], excepted["TOTAL_AMT sum"]) == (1, 107)
    finally:
        loaded.source.execute("delete from KPS_T_SALES_APPRV where APPRV_NO = 'NEW-1'")


def test_refused_twice_in_a_row_still_has_the_first_value(loaded: Migration) -> None:
    """The former value is the one that was accepted, not that of the generation before."""
    number = loaded.approvals()[0]
    former = loaded.record(number)["Total_Amt__c"]
    loaded.add(number, 5)
    loaded.run_refused()
    loaded.add(number, 6)
    proof = loaded.run_refused()
    assert (proof.state, proof.detail["kept"]) == (EXCEPTIONS, 1)
    assert loaded.record(number)["Total_Amt__c"] == former
    excepted = {one.measure: one.excepted for one in loaded.report().comparisons}
    assert excepted["TOTAL_AMT sum"] == 11


@pytest.mark.parametrize("change", [6, -5], ids=["another value", "the former value again"])
def test_next_accepted_load_ends_the_exception(loaded: Migration, change: int) -> None:
    """The row changes again in Oracle and is taken, or goes back to what the org holds and need not be sent."""
    number = loaded.approvals()[0]
    loaded.add(number, 5)
    loaded.run_refused()
    loaded.add(number, change)
    assert loaded.run().state == "reconciled"


def test_row_that_staging_rejects_keeps_its_former_record(loaded: Migration) -> None:
    """A value that breaks a rule never reaches the org, so that its record keeps what it had."""
    number = loaded.approvals()[0]
    with loaded.source.connect() as connection:
        sql = f"select APPRV_DATE from KPS_T_SALES_APPRV where APPRV_NO = '{number}'"
        ((day,),) = connection.cursor().execute(sql).fetchall()
    update = "update KPS_T_SALES_APPRV set APPRV_DATE = '{}' where APPRV_NO = '{}'"
    loaded.source.execute(update.format("31/02/2024", number))
    proof = loaded.run()
    assert (proof.state, proof.detail["kept"]) == (EXCEPTIONS, 1)
    loaded.change(number, Apprv_By__c="Somebody")
    with pytest.raises(Mismatch):
        loaded.compare()
    loaded.source.execute(update.format(day, number))
    assert loaded.run(mode="full").state == "reconciled"


def test_second_row_of_one_key_leaves_the_former_record(loaded: Migration) -> None:
    """Two rows that Salesforce takes for one are both rejected; the record of the first one is still known."""
    insert = "insert into KPS_T_SALES_APPRV (CON_CODE, SHOP_CODE, APPRV_NO, TOTAL_AMT) values ('C1', 'S1', '{}', {})"
    loaded.source.execute(insert.format("TWICE", 100))
    assert loaded.run().state == "reconciled"
    loaded.source.execute(insert.format("twice", 200))
    try:
        proof = loaded.run()
        assert (proof.state, proof.detail["exceptions"], proof.detail["kept"]) == (EXCEPTIONS, 2, 1)
        loaded.change("TWICE", Total_Amt__c=150)
        with pytest.raises(Mismatch):
            loaded.compare()
    finally:
        loaded.source.execute("delete from KPS_T_SALES_APPRV where APPRV_NO in ('TWICE', 'twice')")


def test_correction_is_the_former_value_of_a_later_refusal(loaded: Migration, tmp_path: Path) -> None:
    """What a person corrected is what was accepted last, also while a newer row is refused and corrected in vain."""
    loaded.run(ADDRESSES)
    with loaded.source.connect() as connection:
        sql = "select SHOP_CODE, SEQ from KPS_R_EMAIL_TENANT where EMAIL is not null fetch first 1 rows only"
        ((shop, seq),) = connection.cursor().execute(sql).fetchall()
    update = f"update KPS_R_EMAIL_TENANT set EMAIL = '{{}}' where SHOP_CODE = '{shop}' and SEQ = {seq}"
    for address, correction, loaded_rows in (("bad", "good@example.org", 1), ("worse", "still bad", 0)):
        loaded.source.execute(update.format(address))
        assert loaded.run(ADDRESSES).detail["kept"] == 1
        file = tmp_path / "failed.csv"
        context = loaded.context(ADDRESSES)
        export_refused([context], ADDRESSES.table, file)
        file.write_text(file.read_text().replace(f",{address},", f",{correction},"))
        assert send_refused(context, corrections_of(file, ADDRESSES.table, [context])["ALL"]).loaded == loaded_rows
    proof = loaded.compare(ADDRESSES)
    assert (proof.state, proof.detail["kept"]) == (EXCEPTIONS, 1)
    assert loaded.run(ADDRESSES, mode="full").detail["kept"] == 1
    loaded.source.execute(update.format("a@example.org"))
    assert loaded.run(ADDRESSES).state == "reconciled"


def test_refused_and_then_deleted_in_oracle_is_reported_as_surplus(loaded: Migration) -> None:
    """A load deletes nothing: the record is only in Salesforce, as after any deletion in Oracle."""
    loaded.source.execute(
        "insert into KPS_T_SALES_APPRV (CON_CODE, SHOP_CODE, APPRV_NO, TOTAL_AMT) values ('C1', 'S1', 'NEW-2', 100)"
    )
    assert loaded.run().state == "reconciled"
    loaded.add("NEW-2", 5)
    assert loaded.run_refused().detail["kept"] == 1
    loaded.source.execute("delete from KPS_T_SALES_APPRV where APPRV_NO = 'NEW-2'")
    with pytest.raises(Mismatch, match="No load deletes records that only Salesforce has"):
        loaded.run()
    records = loaded.report().records
    assert records is not None
    assert [key.split("|")[-1] for key in records.surplus_keys] == ["NEW-2"]
    roll_back(loaded.context())
    assert loaded.run(mode="full").state == "reconciled"


def test_refused_after_a_rollback_is_a_missing_row(loaded: Migration) -> None:
    """The rollback removed the record: there is no former value any more, and none is expected."""
    roll_back(loaded.context())
    proof = loaded.run_refused()
    rows = len(loaded.approvals())
    assert (proof.state, proof.detail["exceptions"]) == (EXCEPTIONS, rows)
    assert "kept" not in proof.detail
    assert send_refused(loaded.context()).loaded == rows
    loaded.add(loaded.approvals()[0], 5)
    assert loaded.run_refused().detail["kept"] == 1


def test_all_updates_of_a_partition_are_refused(loaded: Migration) -> None:
    """Every record keeps its former value, and every one is compared."""
    loaded.source.execute("update KPS_T_SALES_APPRV set TOTAL_AMT = TOTAL_AMT + 1")
    rows = len(loaded.approvals())
    proof = loaded.run_refused()
    assert (proof.state, proof.detail["kept"], proof.detail["records_compared"]) == (EXCEPTIONS, rows, rows)
    loaded.change(loaded.approvals()[-1], Apprv_By__c="Somebody")
    with pytest.raises(Mismatch):
        loaded.compare()


def test_refused_update_is_in_every_sample(loaded: Migration) -> None:
    """A sample of one record compares the refused one too; its state says that it is a sample."""
    loaded.workspace.settings.reconcile.level3 = "sample"
    loaded.workspace.settings.reconcile.sample_rows = 1
    for number in loaded.approvals()[:1]:
        loaded.add(number, 5)
        proof = loaded.run_refused()
        assert (proof.state, proof.detail["kept"]) == ("sampled", 1)
        assert int(proof.detail["records_compared"]) in (1, 2)


def test_update_refused_in_a_small_retry_keeps_its_value(loaded: Migration) -> None:
    """Rows that failed for a lock are sent again by a composite request, which refuses one of them for its data."""
    loaded.run(ADDRESSES)
    with loaded.source.connect() as connection:
        ((shop, seq, address),) = (
            connection.cursor()
            .execute(
                "select SHOP_CODE, SEQ, EMAIL from KPS_R_EMAIL_TENANT where EMAIL is not null fetch first 1 rows only"
            )
            .fetchall()
        )
    where = f"where SHOP_CODE = '{shop}' and SEQ = {seq}"
    loaded.source.execute(f"update KPS_R_EMAIL_TENANT set EMAIL = 'no address' {where}")
    loaded.org.switch(lock_rows_every=1)
    proof = loaded.run(ADDRESSES)
    loaded.org.switch(lock_rows_every=0)
    assert (proof.state, proof.detail["exceptions"], proof.detail["kept"]) == (EXCEPTIONS, 1, 1)
    (kept,) = loaded.report(ADDRESSES).kept_records
    assert (kept.fields, kept.measures) == (("Email__c",), ())
    loaded.source.execute(f"update KPS_R_EMAIL_TENANT set EMAIL = '{address}' {where}")
    assert loaded.run(ADDRESSES).state == "reconciled"
