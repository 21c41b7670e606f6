"""Text that was stored through a wrong NLS_LANG, and bytes that are no text: found and decoded while extracting."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle_source import OracleServer, start_oracle

from assets.oracle_extract import oracle_extract
from kpc.catalog.character_sets import STORED_AS
from kpc.catalog.table import Table
from kpc.catalog.types import DAY, Column, DateFormat, Phase, char, decimal, number, text, varchar2
from kpc.convert.frame import convert_frame
from kpc.errors import CatalogError, DataUnreadable
from kpc.extract.control_totals import scan_chunks
from kpc.extract.one_pass import read_in_one_pass
from kpc.extract.partition_extract import extract_spec
from kpc.extract.pass_files import ONE_PASS
from kpc.extract.text_reading import decode
from kpc.oracle.session import Oracle
from kpc.oracle.statement import Statement
from kpc.partition import Partition
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.workspace import Workspace

NAMES = ("สมชาย ใจดี", "Bangkok", "", "ปิยะนุช ณ อยุธยา")
TIS = Table(
    name="OLD_TEXT",
    target="OldText__c",
    phase=Phase.REFERENCE,
    columns=(
        Column("ID", number(9), "Id__c", decimal(9, 0)),
        Column("NAME", varchar2(60), "Name__c", text(60), stored_as="TIS620"),
        Column("CODE", char(12), "Code__c", text(12), stored_as="TIS620"),
        Column("DAY", char(10), "Day__c", DAY, date_format=DateFormat.ISO),
    ),
    key=("CODE", "ID"),
    rows_per_year=1,
    measures=(),
)
PLAIN = replace(TIS, columns=tuple(replace(column, stored_as=None) for column in TIS.columns))
MONTHLY = replace(TIS, month_column="DAY", day_field="Day__c")
RAW = "UTL_RAW.CAST_TO_VARCHAR2(HEXTORAW(:2))"


def a_database(folder: pytest.TempPathFactory, character_set: str) -> Iterator[OracleServer]:
    server = start_oracle(folder.mktemp(character_set), "--rows", "0", "--character-set", character_set)
    columns = ", ".join(f'"{column.name}" {column.source.ddl}' for column in TIS.columns)
    server.execute(f"CREATE TABLE OLD_TEXT ({columns})")
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["WE8MSWIN1252", "US7ASCII"])
def latin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    """Thai rows that a client stored unconverted in a database without Thai letters."""
    for server in a_database(tmp_path_factory, request.param):
        fill(server, [name.encode("tis_620") for name in NAMES], "กข".encode("tis_620"))
        yield server


@pytest.fixture
def unicode_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    yield from a_database(tmp_path_factory, "AL32UTF8")


def fill(server: OracleServer, names: list[bytes], code: bytes = b"K") -> None:
    insert = f"INSERT INTO OLD_TEXT VALUES (:1, {RAW}, UTL_RAW.CAST_TO_VARCHAR2(HEXTORAW(:3)), '2024-02-03')"
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.executemany(insert, [(n, name.hex(), code.hex()) for n, name in enumerate(names, 1)])
        connection.commit()


@pytest.fixture
def extracted(
    workspaces: Callable[..., Workspace], salesforce: SalesforceSettings
) -> Callable[[Table, OracleServer], pl.DataFrame]:
    def extract(table: Table, server: OracleServer) -> pl.DataFrame:
        context = PartitionContext(workspaces(server, salesforce), Partition(table, "ALL"))
        result = oracle_extract.materialize(context)
        folder = context.paths.generation(result.generation).extract
        return scan_chunks(folder, sealed_extract(context).chunks, table).collect().sort("ID")

    return extract


def test_bytes_of_tis_620_become_the_right_thai(
    latin: OracleServer, extracted: Callable[[Table, OracleServer], pl.DataFrame]
) -> None:
    """With stored_as the Thai arrives, through keys and staging; without it, letters that nobody wrote or U+FFFD."""
    rows = extracted(TIS, latin)
    assert rows["NAME"].to_list() == [name or None for name in NAMES]
    assert rows["CODE"].to_list() == ["กข          "] * 4
    staged = convert_frame(rows, TIS, key="ALL", hash_key="").collect()
    assert staged["__rule"].to_list() == [None] * 4
    assert staged["Name__c"][0] == NAMES[0]
    assert staged["External_ID__c"][0] == "กข|1"
    assert extracted(PLAIN, latin)["NAME"][0] != NAMES[0]


def test_stored_as_is_part_of_the_spec_hash(
    latin: OracleServer, workspaces: Callable[..., Workspace], salesforce: SalesforceSettings
) -> None:
    workspace = workspaces(latin, salesforce)
    specs = {extract_spec(PartitionContext(workspace, Partition(table, "ALL"))) for table in (TIS, PLAIN)}
    assert len(specs) == 2
    assert TIS.mapping_version != PLAIN.mapping_version
    assert TIS.external_id_version != PLAIN.external_id_version


def test_one_pass_decodes_too(
    latin: OracleServer, workspaces: Callable[..., Workspace], salesforce: SalesforceSettings
) -> None:
    workspace = workspaces(latin, salesforce)
    context = PartitionContext(workspace, Partition(MONTHLY, ONE_PASS))
    read_in_one_pass(context, ("2024-02",))
    folder = context.paths.folder
    rows = pl.read_parquet(next(folder.rglob("2024-02/*.parquet"))).sort("ID")
    assert rows["NAME"].to_list() == [name or None for name in NAMES]


def test_invalid_bytes_reject_their_rows_and_are_named_while_extracting(
    unicode_database: OracleServer,
    extracted: Callable[[Table, OracleServer], pl.DataFrame],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One row of bytes that are not UTF-8 among others: the extract names it by its key, staging rejects only it."""
    fill(unicode_database, [b"fine", b"\xca\xc1\xaa\xd2\xc2", "สมชาย".encode()])
    with caplog.at_level(logging.WARNING):
        rows = extracted(PLAIN, unicode_database)
    assert "OLD_TEXT.NAME of 1 rows is not UTF-8, keys K|2" in caplog.text
    staged = convert_frame(rows, PLAIN, key="ALL", hash_key="").collect()
    assert staged["__rule"].to_list() == [None, "text_undecodable", None]
    assert staged["__field"][1] == "Name__c"
    assert staged["__value"][1] == "\uffffCAC1AAD2C2"
    assert staged["Name__c"][2] == "สมชาย"


def test_many_undecodable_rows_stop_the_extract_at_once(
    unicode_database: OracleServer, extracted: Callable[[Table, OracleServer], pl.DataFrame]
) -> None:
    """A column full of other bytes means a wrong declaration: the error names table, column and first keys."""
    fill(unicode_database, [b"\xca\xc1"] * 40)
    with pytest.raises(DataUnreadable) as caught:
        extracted(PLAIN, unicode_database)
    assert "40 of the first 40 rows" in str(caught.value)
    assert "OLD_TEXT.NAME of 40 rows is not UTF-8, keys K|1, K|2, K|3" in str(caught.value)
    assert "stored_as" in caught.value.remedy
    assert extracted(replace_name(PLAIN, "TIS620"), unicode_database)["NAME"][0] == "สม"


def test_rows_that_are_read_one_by_one_name_their_table_too(unicode_database: OracleServer) -> None:
    """Outside of data frames the driver itself fails to decode; the error is one sentence with a remedy."""
    fill(unicode_database, [b"\xca\xc1"])
    with (
        Oracle(unicode_database.settings).session("test", "OLD_TEXT") as session,
        pytest.raises(DataUnreadable) as caught,
    ):
        list(session.rows(Statement("SELECT NAME FROM OLD_TEXT")))
    assert "A text of KPC.OLD_TEXT is not UTF-8 although its database is: byte 1 is 0xca." in str(caught.value)
    assert "stored_as" in caught.value.remedy


def test_bytes_without_meaning_in_the_declared_set_are_found(
    unicode_database: OracleServer,
    extracted: Callable[[Table, OracleServer], pl.DataFrame],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """0x93 is a quote of Windows and nothing in TIS-620."""
    fill(unicode_database, [b"a", b"\x93b\x94", b"c"])
    with caplog.at_level(logging.WARNING):
        rows = extracted(replace_name(PLAIN, "TIS620"), unicode_database)
    assert "OLD_TEXT.NAME of 1 rows is not TIS620, keys K|2" in caplog.text
    assert rows["NAME"].to_list() == ["a", "\uffff936294", "c"]
    assert extracted(replace_name(PLAIN, "MSWIN874"), unicode_database)["NAME"][1] == "“b”"


def replace_name(table: Table, stored_as: str) -> Table:
    return replace(
        table,
        columns=tuple(replace(c, stored_as=stored_as) if c.name == "NAME" else c for c in table.columns),
    )


@given(st.lists(st.none() | st.binary(max_size=12)), st.sampled_from(STORED_AS), st.integers(0, 3))
def test_decoding_a_column_equals_decoding_each_value(values: list[bytes | None], name: str, skipped: int) -> None:
    """Slices and NULLs included; what one value cannot be decoded as is marked with its own bytes."""
    codec = {"TIS620": "tis_620", "MSWIN874": "cp874", "AL32UTF8": "utf-8"}[name]

    def one(value: bytes | None) -> str | None:
        if value is None:
            return None
        try:
            if name == "TIS620" and any(0x80 <= byte <= 0xA0 for byte in value):
                return "\uffff" + value.hex().upper()
            return value.decode(codec)
        except UnicodeDecodeError:
            return "\uffff" + value.hex().upper()

    expected = [one(value) for value in values][skipped:]
    texts, wrong = decode(pa.array(values, pa.binary()).slice(skipped), pa.string(), name)
    texts.validate(full=True)
    assert texts.to_pylist() == expected
    assert wrong == [row for row, value in enumerate(expected) if value is not None and value.startswith("\uffff")]


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (Column("A", varchar2(9), "A__c", text(9), stored_as="EBCDIC"), "Set stored_as to one of TIS620"),
        (Column("A", varchar2(2001), "A__c", text(255), stored_as="TIS620"), "at most 2,000 characters"),
        (
            Column("A", char(10), "A__c", DAY, date_format=DateFormat.ISO, stored_as="TIS620"),
            "that are no date",
        ),
    ],
)
def test_what_cannot_be_read_as_bytes_is_refused(column: Column, told: str) -> None:
    with pytest.raises(CatalogError, match=told):
        replace(TIS, columns=(*TIS.columns, column))
    with pytest.raises(CatalogError, match="read by ROWID"):
        replace(TIS, has_rowid=False)
