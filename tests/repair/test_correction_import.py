"""A corrected export: what spreadsheets make of it is understood or refused by line and field; nothing else changes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from emulated_org import Emulator
from staged_samples import close, make_workspace, stage

from assets.sf_loaded import sf_loaded
from kpc.campaign.inspection import inspect_partition
from kpc.errors import ConfigError
from kpc.partition import find_partition
from kpc.repair.correction_log import logged_corrections
from kpc.repair.corrections import corrections_of
from kpc.repair.refused_rows import export_refused
from kpc.repair.send_refused import RepairResult, send_refused
from kpc.repair.spreadsheet_cells import protected, restored
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

APPROVALS = find_partition("KPS_T_SALES_APPRV", "ALL")
PARENTS, CHILDREN = find_partition("KPS_R_POS_SUPPLIER", "ALL"), find_partition("KPS_R_EMAIL_SUPPLIER", "ALL")
ID, NAME, AMOUNT, DAY = "External_ID__c", "Apprv_By__c", "Total_Amt__c", "Apprv_Date__c"
PARENT = "Pos_Supplier__r.External_ID__c"
FIRST, SECOND = "01|00123|A1", "01|00123|A2"
GOOD = "ผู้อนุมัติ"

Row = dict[str, str]

pytestmark = pytest.mark.usefixtures("quick_retries")


def _cells(number: str) -> Row:
    return {
        "Con_Code__c": "01",
        "Shop_Code__c": "00123",
        "Apprv_No__c": number,
        DAY: "2024-01-31",
        "Status__c": "Approved",
        NAME: "x" * 101,
        AMOUNT: "123456789012.50",
        "Createddate__c": "2024-01-15T05:00:00.000Z",
    }


@dataclass
class Correcting:
    """Two approvals that were refused because a name is too long, and their export."""

    workspace: Workspace
    exported: Path
    edited: Path

    @property
    def context(self) -> PartitionContext:
        return PartitionContext(self.workspace, APPROVALS)

    def rows(self) -> list[Row]:
        """The exported rows as a spreadsheet shows them."""
        with self.exported.open(encoding="utf-8-sig", newline="") as text:
            return list(csv.DictReader(text))

    def write(self, rows: Sequence[Mapping[str, str]], columns: Sequence[str] = (), separator: str = ",") -> str:
        """Rows as the text of a CSV file."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns or list(rows[0]), delimiter=separator, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def edit(self, **cells: str) -> None:
        """The first row with other cells, as a file of its own."""
        self.edited.write_text(self.write([{**self.rows()[0], **cells}]), "utf-8")

    def send(self, allowed: str = "") -> RepairResult:
        return send_refused(self.context, corrections_of(self.edited, APPROVALS.table, [self.context], allowed)["ALL"])

    def refusal(self, allowed: str = "") -> str:
        """The message with which the edited file is refused; nothing reached the org."""
        with pytest.raises(ConfigError) as refused:
            self.send(allowed)
        assert self.in_org() == {}
        return str(refused.value)

    def in_org(self) -> dict[str, Row]:
        fields = ", ".join((ID, *_cells("")))
        found = self.workspace.salesforce.query(f"SELECT {fields} FROM {APPROVALS.table.target}")
        return {
            str(record[ID]): {name: str(record[name]).replace("+0000", "Z") for name in _cells("")} for record in found
        }


@pytest.fixture
def correcting(emulated: Callable[..., Emulator], tmp_path: Path) -> Iterator[Correcting]:
    workspace = make_workspace(tmp_path, emulated().settings, "run-1")
    stage(workspace, APPROVALS, [FIRST, SECOND], values={FIRST: _cells("A1"), SECOND: _cells("A2")})
    assert sf_loaded.materialize(PartitionContext(workspace, APPROVALS)).detail["failed"] == 2
    made = Correcting(workspace, tmp_path / "exported.csv", tmp_path / "edited.csv")
    assert export_refused([made.context], APPROVALS.table, made.exported) == 2
    yield made
    close(workspace)


def test_corrected_cell_is_sent_and_recorded_without_its_value(correcting: Correcting) -> None:
    """The audit log and `kpc show` name row and field, with hashes of the old and the new value."""
    correcting.edit(**{NAME: GOOD})
    assert correcting.send().loaded == 1
    assert correcting.in_org()[FIRST] == {**_cells("A1"), NAME: GOOD, AMOUNT: "123456789012.5"}
    workspace = correcting.workspace
    (logged,) = logged_corrections(workspace.ledger, workspace.environment, APPROVALS)
    assert (logged.cell.external_id, logged.cell.field, logged.actor) == (FIRST, NAME, "tester")
    assert len({logged.cell.old, logged.cell.new}) == 2
    (shown,) = inspect_partition(correcting.context)["corrections"]
    assert (shown["row"], shown["field"]) == (FIRST, NAME)
    entries = str([entry.detail for entry in workspace.ledger.audit.entries()])
    assert GOOD not in entries
    assert workspace.ledger.audit.verify() == []


DIALECTS: dict[str, Callable[[str], bytes]] = {
    "byte order mark": lambda text: text.encode("utf-8-sig"),
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "a separator line": lambda text: b"sep=;\r\n" + text.replace(",", ";").encode(),
    "carriage returns": lambda text: text.replace("\r\n", "\r").encode(),
    "line feeds": lambda text: text.replace("\r\n", "\n").encode(),
    "Unicode text": lambda text: text.replace(",", "\t").encode("utf-16"),
    "Unicode text, big endian": lambda text: b"\xfe\xff" + text.replace(",", "\t").encode("utf-16-be"),
    "empty lines and columns": lambda text: text.replace("\r\n", ",,\r\n").encode() + b",,,\r\n\r\n",
    "all cells in quotes": lambda text: "\r\n".join(
        ",".join(f'"{cell}"' for cell in line.split(",")) for line in text.split("\r\n") if line
    ).encode(),
}


@pytest.mark.parametrize("encode", DIALECTS.values(), ids=list(DIALECTS))
def test_file_is_read_as_spreadsheets_save_it(correcting: Correcting, encode: Callable[[str], bytes]) -> None:
    """Separators, line ends and encodings of the usual programs; Thai arrives as it was typed."""
    rows = [{**row, NAME: GOOD, "_message": ""} for row in correcting.rows()]
    correcting.edited.write_bytes(encode(correcting.write(rows)))
    assert correcting.send().loaded == 2
    assert {row[NAME] for row in correcting.in_org().values()} == {GOOD}


REWRITTEN: dict[str, Row] = {
    "shorter number": {AMOUNT: "123456789012.5"},
    "unprotected code": {"Shop_Code__c": "00123", "Con_Code__c": "01"},
    "unprotected day": {DAY: "2024-01-31"},
    "blanks around a cell": {"Status__c": " Approved "},
    "formula mark typed again": {NAME: "'=1+1"},
}


@pytest.mark.parametrize("cells", REWRITTEN.values(), ids=list(REWRITTEN))
def test_same_value_in_another_form_is_no_change(correcting: Correcting, cells: Row) -> None:
    """Only the name counts as changed, and the record has the exported values."""
    correcting.edit(**{NAME: GOOD, **cells})
    assert correcting.send().loaded == 1
    name = restored(cells.get(NAME, GOOD))
    assert correcting.in_org()[FIRST] == {**_cells("A1"), NAME: name, AMOUNT: "123456789012.5"}
    logged = logged_corrections(correcting.workspace.ledger, correcting.workspace.environment)
    assert [one.cell.field for one in logged] == [NAME]


REFUSED: dict[str, tuple[Row, str]] = {
    "leading zeros lost": ({"Shop_Code__c": "123"}, "line 2, Shop_Code__c"),
    "another key": ({"Apprv_No__c": "A3"}, "line 2, Apprv_No__c"),
    "id of the other row": ({ID: SECOND}, "line 2, Apprv_No__c"),
    "unknown id": ({ID: "01|00123|A3"}, "line 2, External_ID__c is not"),
    "id in another case": ({ID: FIRST.lower()}, "line 2, External_ID__c is not the one"),
    "field that was not refused": ({"Status__c": "Rejected"}, "--allow-fields Status__c"),
    "emptied field": ({AMOUNT: ""}, "line 2, Total_Amt__c"),
    "rewritten day": ({DAY: "31/01/2024"}, "line 2, Apprv_Date__c is not a date like 2024-01-31"),
    "day that does not exist": ({DAY: "2024-02-30"}, "line 2, Apprv_Date__c is not a date"),
    "rewritten time": ({"Createddate__c": "15/01/2024 12:00"}, "line 2, Createddate__c is not a UTC time"),
    "exponent": ({AMOUNT: "1.23457E+11"}, "line 2, Total_Amt__c is a number in exponent form"),
    "exponent with a comma": ({AMOUNT: "1,23E+11"}, "exponent form"),
    "exponent in a text": ({NAME: "8.12E+10"}, "line 2, Apprv_By__c is a number in exponent form"),
    "thousands": ({AMOUNT: "123,456,789,012.50"}, "line 2, Total_Amt__c is not a number"),
    "decimal comma": ({AMOUNT: "1,5"}, "is not a number"),
    "Thai digits": ({AMOUNT: "๑๒"}, "is not a number"),
    "too many decimals": ({AMOUNT: "1.505"}, "has more than 2 decimal places"),
    "digits beyond what is read": ({AMOUNT: "1.50" + "0" * 20 + "1"}, "has more than 2 decimal places"),
    "number too large": ({AMOUNT: "9" * 17}, "is larger than its field holds"),
    "error mark": ({NAME: "#NAME?"}, "line 2, Apprv_By__c holds a spreadsheet's error mark"),
    "column too narrow": ({NAME: "########"}, "error mark"),
    "still too long": ({NAME: "y" * 101}, "line 2, Apprv_By__c has more than 100 characters"),
    "control character": ({NAME: "a\x08b"}, "line 2, Apprv_By__c has a control character"),
    "unknown choice": ({"Status__c": "A"}, "line 2, Status__c is not one of Approved"),
    "another partition": ({"_partition": "2024-01"}, "line 2, _partition is '2024-01'"),
    "another mark": ({"Migration_Partition__c": "2024-01/000"}, "line 2, Migration_Partition__c is a mark"),
}  # fmt: skip


@pytest.mark.parametrize(("cells", "message"), REFUSED.values(), ids=list(REFUSED))
def test_cell_that_may_not_be_sent_is_named(correcting: Correcting, cells: Row, message: str) -> None:
    """By line and field, without the value; nothing is sent, not even the correction beside it."""
    correcting.edit(**{NAME: GOOD, **cells})
    refusal = correcting.refusal()
    assert message in refusal
    assert GOOD not in refusal
    assert logged_corrections(correcting.workspace.ledger, correcting.workspace.environment) == []


def test_other_fields_change_only_when_they_are_allowed(correcting: Correcting) -> None:
    """They pass the same checks, and each is recorded; a key field cannot be allowed."""
    correcting.edit(**{NAME: GOOD, "Status__c": "Rejected", AMOUNT: "7.5"})
    assert "Total_Amt__c" in correcting.refusal("Status__c")
    correcting.refusal("Nope__c")
    assert "part of the key" in correcting.refusal("Shop_Code__c")
    assert correcting.send(f"status__c, {AMOUNT}").loaded == 1
    assert correcting.in_org()[FIRST] == {**_cells("A1"), NAME: GOOD, "Status__c": "Rejected", AMOUNT: "7.5"}
    logged = logged_corrections(correcting.workspace.ledger, correcting.workspace.environment)
    assert sorted(one.cell.field for one in logged) == sorted([NAME, "Status__c", AMOUNT])


FILES: dict[str, tuple[Callable[[str], bytes | None], str]] = {
    "missing": (lambda _text: None, "There is no file"),
    "empty": (lambda _text: b"", "is empty"),
    "blank": (lambda _text: b"\xef\xbb\xbf\r\n", "is not an export"),
    "only its header": (lambda text: text.split("\r\n")[0].encode(), "holds no rows"),
    "Thai Windows": (lambda text: text.replace(",x", ",ผู้").encode("cp874"), "line 2 has the byte 0x"),
    "a workbook": (lambda _text: b"PK\x03\x04...", "is a workbook"),
    "unmarked UTF-16": (lambda text: text.encode("utf-16-le"), "zero bytes"),
    "broken quotes": (lambda text: text.encode() + b'"k', "cannot be read as CSV"),
    "renamed column": (lambda text: text.replace(NAME, "Approver").encode(), "it lacks the column Apprv_By__c"),
    "misspelt column": (
        lambda text: text.replace(NAME, "Apprv_By_c").encode(), "'Apprv_By_c' (meant is Apprv_By__c?)"),
    "column of a note renamed": (lambda text: text.replace("_partition", "month").encode(), "lacks the column _part"),
    "column twice": (lambda text: text.replace("Status__c", NAME).encode(), "it has the column Apprv_By__c twice"),
    "additional column": (lambda text: text.replace("\r\n", ",Nope__c\r\n").encode(), "'Nope__c'"),
    "additional cell": (lambda text: text.encode().rstrip() + b",1\r\n", "line 3 has 16 cells"),
    "one line twice": (lambda text: text.encode() + text.encode().split(b"\r\n")[1], "line 4 has the same"),
}  # fmt: skip


@pytest.mark.parametrize(("encode", "message"), FILES.values(), ids=list(FILES))
def test_file_that_is_no_export_is_refused(
    correcting: Correcting, encode: Callable[[str], bytes | None], message: str
) -> None:
    """One sentence says what it is instead; nothing is sent."""
    content = encode(correcting.write(correcting.rows()))
    if content is not None:
        correcting.edited.write_bytes(content)
    assert message in correcting.refusal()


def test_columns_in_any_order_and_without_the_notes_are_read(correcting: Correcting) -> None:
    """Columns are found by their names; those of notes and marks may be left out."""
    rows = [{**row, NAME: GOOD} for row in correcting.rows()]
    kept = [name for name in rows[0] if name not in ("_class", "_code", "_message", "Migration_Generation__c")]
    correcting.edited.write_text(correcting.write(rows, kept[::-1]), "utf-8")
    assert correcting.send().loaded == 2


def test_row_that_was_corrected_already_is_refused(correcting: Correcting) -> None:
    """The same file twice: the second time its row is no refused one."""
    correcting.edit(**{NAME: GOOD})
    corrections = corrections_of(correcting.edited, APPROVALS.table, [correcting.context])
    assert correcting.send().loaded == 1
    with pytest.raises(ConfigError, match="is not, or no longer"):
        correcting.send()
    with pytest.raises(ConfigError, match="not, or no longer, refused rows"):
        send_refused(correcting.context, corrections["ALL"])


def test_missing_parent_may_be_replaced_without_permission(emulated: Callable[..., Emulator], tmp_path: Path) -> None:
    """A row that was refused for its parent may name another one; its other cells may not change."""
    workspace = make_workspace(tmp_path, emulated().settings, "run-1")
    stage(workspace, PARENTS, ["001"])
    sf_loaded.materialize(PartitionContext(workspace, PARENTS))
    stage(workspace, CHILDREN, ["999|1"], values={"999|1": {PARENT: "999"}})
    context = PartitionContext(workspace, CHILDREN)
    assert sf_loaded.materialize(context).detail["failed"] == 1
    file = tmp_path / "file.csv"
    export_refused([context], CHILDREN.table, file)
    exported = file.read_text("utf-8-sig")
    file.write_text(exported.replace(",999,", ",'001,"), "utf-8")
    assert send_refused(context, corrections_of(file, CHILDREN.table, [context])["ALL"]).loaded == 1
    close(workspace)


def test_exported_cells_do_nothing_in_a_spreadsheet(correcting: Correcting) -> None:
    """What would run or be rewritten is text: formulas, leading zeros, long numbers, days."""
    (first, _) = correcting.rows()
    assert (first["Shop_Code__c"], first[DAY], first[AMOUNT]) == ("'00123", "'2024-01-31", "'123456789012.50")
    assert (first[ID], first["Status__c"]) == (FIRST, "Approved")


FORMULAS = ("=1+1", "+66 81", "-5", "@cmd", "\tx", "\rx", " =1", "\uff1d1")
REWRITABLE = ("00123", "1E5", "1/2", "2024-01", "MAR1", "0812345678901", "1.2.2024", "8:05")


@pytest.mark.parametrize("value", [*FORMULAS, *REWRITABLE])
def test_dangerous_value_is_protected_and_comes_back(value: str) -> None:
    """Also where it has apostrophes of its own."""
    for own in ("", "'", "''"):
        cell = protected(own + value)
        assert cell == "'" + own + value
        assert restored(cell) == own + value
    assert restored(value) == value


@pytest.mark.parametrize("value", ["'s-Hertogenbosch", "''", "'", "", "plain", "1234.50", "a=b", "0.5", "ก", "true"])
def test_harmless_value_stays_as_it_is(value: str) -> None:
    """An apostrophe of its own is neither added nor lost."""
    assert protected(value) == value
    assert restored(value) == value
