"""Every Oracle type of the catalog's vocabulary arrives exactly, from the column to the converted text."""

# ruff: noqa: DTZ001  Oracle's DATE and TIMESTAMP have no zone

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal

import polars as pl
import pytest
from oracle_source import OracleServer, start_oracle

from assets.oracle_extract import oracle_extract
from kpc.catalog.table import Table
from kpc.catalog.types import (
    CLOB,
    DATE,
    DAY,
    MOMENT,
    Column,
    OracleType,
    Phase,
    char,
    decimal,
    long_text,
    number,
    nvarchar2,
    raw,
    text,
    timestamp,
    timestamp_tz,
    varchar2,
)
from kpc.convert.frame import convert_frame
from kpc.errors import CatalogError, SchemaDrift
from kpc.extract.control_totals import scan_chunks
from kpc.extract.statements import Selection
from kpc.partition import Partition
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.workspace import Workspace

COLUMNS = (
    Column("ID", number(9), "Id__c", decimal(9, 0)),
    Column("C", char(6), "C__c", text(6)),
    Column("V", varchar2(20), "V__c", text(20)),
    Column("N", nvarchar2(20), "N__c", text(20)),
    Column("L", CLOB, "L__c", long_text()),
    Column("R", raw(8), "R__c", text(16)),
    Column("D", DATE, "D__c", MOMENT),
    Column("T0", timestamp(0), "T0__c", MOMENT),
    Column("T3", timestamp(3), "T3__c", MOMENT),
    Column("T6", timestamp(6), "T6__c", MOMENT),
    Column("T9", timestamp(9), "T9__c", MOMENT),
    Column("Z", timestamp_tz(6), "Z__c", MOMENT),
    Column("ZDAY", timestamp_tz(0), "Zday__c", DAY),
    Column("FREE", number(), "Free__c", decimal(18, 4)),
    Column("P", number(18, 2), "P__c", decimal(18, 2)),
)
TYPES = Table(
    name="TYPES",
    target="Types__c",
    phase=Phase.REFERENCE,
    columns=COLUMNS,
    key=("ID",),
    rows_per_year=1,
    measures=(),
)
_TEXT = "YYYY-MM-DD HH24:MI:SS.FF9"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "200", "--months", "2024-01")
    columns = ", ".join(f'"{column.name}" {column.source.ddl}' for column in COLUMNS)
    full = (
        f"1, 'ab', ' x ', N'ไทย', TO_CLOB('long'), HEXTORAW('00FFA0'), DATE '2024-02-29', "
        f"TO_TIMESTAMP('2024-02-29 23:59:59', 'YYYY-MM-DD HH24:MI:SS'), "
        "TIMESTAMP '2024-02-29 23:59:59.123', "
        f"TO_TIMESTAMP('2024-02-29 23:59:59.123456000', '{_TEXT}'), "
        f"TO_TIMESTAMP('2024-02-29 23:59:59.123456789', '{_TEXT}'), "
        "TIMESTAMP '2024-03-01 05:30:00.250000 +02:30', TIMESTAMP '2024-03-01 00:30:00 +00:00', "
        "1234567890123456789012345678.0123456789, -0.05"
    )
    edge = (
        "2, NULL, NULL, NULL, NULL, NULL, DATE '0001-01-01', NULL, TIMESTAMP '9999-12-31 23:59:59.999', "
        "TIMESTAMP '2250-12-31 23:59:59.999999', "
        f"TO_TIMESTAMP('1700-01-01 00:00:00.000000001', '{_TEXT}'), "
        "TIMESTAMP '2024-01-01 00:00:00.000000 -11:00', TIMESTAMP '2024-02-29 20:00:00 +05:00', -0.0000000001, NULL"
    )
    server.execute(
        f"CREATE TABLE TYPES ({columns})", f"INSERT INTO TYPES VALUES ({full})", f"INSERT INTO TYPES VALUES ({edge})"
    )
    yield server
    server.stop()


@pytest.fixture
def workspace(server: OracleServer, workspaces: Callable[..., Workspace], salesforce: SalesforceSettings) -> Workspace:
    return workspaces(server, salesforce)


def extracted(table: Table, workspace: Workspace) -> pl.DataFrame:
    partition = Partition(table, "ALL")
    result = oracle_extract.materialize(PartitionContext(workspace, partition))
    manifest = sealed_extract(PartitionContext(workspace, partition))
    folder = PartitionContext(workspace, partition).paths.generation(result.generation).extract
    return scan_chunks(folder, manifest.chunks, table).collect().sort("ID")


def test_every_type_is_extracted_as_it_is(workspace: Workspace) -> None:
    """Padding, fractions, bytes, 38 digits, first and last years; offsets become UTC."""
    first, second = extracted(TYPES, workspace).select(column.name for column in TYPES.columns).to_dicts()
    assert first == {
        "ID": Decimal(1),
        "C": "ab    ",
        "V": " x ",
        "N": "ไทย",
        "L": "long",
        "R": b"\x00\xff\xa0",
        "D": datetime(2024, 2, 29),
        "T0": datetime(2024, 2, 29, 23, 59, 59),
        "T3": datetime(2024, 2, 29, 23, 59, 59, 123000),
        "T6": datetime(2024, 2, 29, 23, 59, 59, 123456),
        "T9": datetime(2024, 2, 29, 23, 59, 59, 123456),
        "Z": datetime(2024, 3, 1, 3, 0, 0, 250000),
        "ZDAY": datetime(2024, 3, 1, 0, 30),
        "FREE": Decimal("1234567890123456789012345678.0123"),
        "P": Decimal("-0.05"),
    }
    assert second["D"] == datetime(1, 1, 1)
    assert second["T3"] == datetime(9999, 12, 31, 23, 59, 59, 999000)
    assert second["T6"] == datetime(2250, 12, 31, 23, 59, 59, 999999)
    assert second["T9"] == datetime(1700, 1, 1)
    assert second["Z"] == datetime(2024, 1, 1, 11)
    assert second["FREE"] == Decimal(0)
    assert [second[name] for name in ("C", "V", "N", "L", "R", "T0", "P")] == [None] * 7


def test_every_type_becomes_its_field(workspace: Workspace) -> None:
    """Bytes are hexadecimal text; a moment with an offset is its UTC second, and its local day in a Date field."""
    rows = extracted(TYPES, workspace).filter(pl.col("ID") == 1).with_columns(FREE=pl.lit(Decimal("1.2346")))
    (row,) = convert_frame(rows, TYPES, key="ALL", hash_key="").collect().to_dicts()
    assert row["__rule"] is None
    assert row["R__c"] == "00FFA0"
    assert row["C__c"] == "ab"
    assert row["N__c"] == "ไทย"
    assert row["D__c"] == "2024-02-28T17:00:00.000Z"
    assert row["T9__c"] == row["T6__c"] == row["T0__c"] == "2024-02-29T16:59:59.000Z"
    assert row["Z__c"] == "2024-03-01T03:00:00.000Z"
    assert row["Zday__c"] == "2024-03-01"
    assert row["Free__c"] == "1.2346"


@pytest.mark.parametrize(
    ("declared", "live"),
    [
        (raw(9), "RAW(8)"),
        (timestamp_tz(3), "TIMESTAMP(6) WITH TIME ZONE"),
        (nvarchar2(21), "NVARCHAR2(20)"),
        (timestamp(6), "TIMESTAMP(9)"),
    ],
)
def test_drift_of_these_types_is_told(workspace: Workspace, declared: OracleType, live: str) -> None:
    """Declared and live type stand side by side."""
    name = {"RAW(8)": "R", "NVARCHAR2(20)": "N", "TIMESTAMP(9)": "T9"}.get(live, "Z")
    columns = tuple(Column(c.name, declared, c.field, c.type) if c.name == name else c for c in COLUMNS)
    table = Table("TYPES", "Types__c", Phase.REFERENCE, columns, ("ID",), 1, ())
    with pytest.raises(SchemaDrift) as caught:
        extracted(table, workspace)
    assert caught.value.differences == (f"{name}: declared as {declared.ddl}, in Oracle {live}",)


@pytest.mark.parametrize(
    ("column", "source", "since", "found"),
    [
        ("T6", timestamp(6), datetime(2024, 2, 29, 23, 59, 59, 123456), 2),
        ("T6", timestamp(6), datetime(2024, 2, 29, 23, 59, 59, 123457), 1),
        ("D", DATE, datetime(2024, 2, 29), 1),
        ("D", DATE, datetime(2024, 2, 29, 0, 0, 1), 0),
        ("Z", timestamp_tz(6), datetime(2024, 3, 1, 3, 0, 0, 250000), 1),
        ("Z", timestamp_tz(6), datetime(2024, 3, 1, 3, 0, 0, 250001), 0),
    ],
)
def test_a_watermark_keeps_its_fraction(
    server: OracleServer, workspace: Workspace, column: str, source: OracleType, since: datetime, found: int
) -> None:
    """To the microsecond, in the column's own clock."""
    table = Table("TYPES", "Types__c", Phase.REFERENCE, COLUMNS, ("ID",), 1, (), update_column=column)
    assert table.change_columns[0].source == source
    where = Selection(Partition(table, "ALL"), 1, since).where
    with server.connect() as connection:
        sql = f"SELECT COUNT(*) FROM TYPES WHERE {where.text}"
        assert connection.cursor().execute(sql, where.binds).fetchone() == (found,)


def test_what_cannot_be_a_watermark_or_a_month_is_refused() -> None:
    """When the catalog is read, not when the campaign runs."""
    with pytest.raises(CatalogError, match="update_column and created_column must be DATE"):
        Table("TYPES", "Types__c", Phase.REFERENCE, COLUMNS, ("ID",), 1, (), update_column="V")
    with pytest.raises(CatalogError, match="of one kind"):
        Table("T", "T__c", Phase.REFERENCE, COLUMNS, ("ID",), 1, (), update_column="D", created_column="T6")
    with pytest.raises(CatalogError, match="has no fixed local month"):
        Table("T", "T__c", Phase.REFERENCE, COLUMNS, ("ID",), 1, (), month_column="ZDAY", day_field="Zday__c")
    with pytest.raises(CatalogError, match=r"RAW\(8\) cannot become a double"):
        Table("T", "T__c", Phase.REFERENCE, (Column("R", raw(8), "R__c", decimal(8, 0)),), ("R",), 1, ())
