"""A table without ROWIDs is read by ranges of its key: every row once, in chunks, whatever the key is made of."""

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
    DATE,
    Column,
    Measure,
    OracleType,
    Phase,
    char,
    decimal,
    number,
    raw,
    text,
    timestamp,
    timestamp_tz,
    varchar2,
)
from kpc.errors import CatalogError
from kpc.extract.control_totals import scan_chunks
from kpc.extract.key_ranges import key_range_condition
from kpc.partition import Partition
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.workspace import Workspace

CHUNK_ROWS = 40
KEY = (
    ("SHOP", char(4)),
    ("DAY", DATE),
    ("AT", timestamp(9)),
    ("NO", number()),
    ("TAG", varchar2(10)),
    ("BYTES", raw(4)),
)


def table_of(key: tuple[tuple[str, OracleType], ...], name: str = "KEYED") -> Table:
    columns = [Column(column, source, f"{column}__c", text(100)) for column, source in key]
    columns.append(Column("AMT", number(12, 2), "Amt__c", decimal(18, 2)))
    return Table(
        name=name,
        target="Keyed__c",
        phase=Phase.REFERENCE,
        columns=tuple(columns),
        key=tuple(column for column, _ in key),
        rows_per_year=1,
        measures=(Measure("AMT"),),
        chunk_rows=CHUNK_ROWS,
        has_rowid=False,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    """300 rows whose keys differ in one column only, another one for each stretch of rows, and a view over them."""
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "200", "--months", "2024-01")
    columns = ", ".join(f'"{name}" {source.ddl}' for name, source in KEY)
    rows = [
        (
            ("AA  ", "aa", "ไทย")[n % 3],
            datetime(2024, 1, 1 + n // 5 % 3),  # noqa: DTZ001  an Oracle DATE
            f"2024-01-01 00:00:00.00000000{n // 15 % 4}",
            Decimal(n // 60 % 3) - Decimal("0.5"),
            f"t{n % 7}",
            bytes([n % 256, n // 256]),
            Decimal(n) / 4,
        )
        for n in range(300)
    ]
    with server.connect() as connection:
        cursor = connection.cursor()
        cursor.execute(f"CREATE TABLE KEYED ({columns}, AMT NUMBER(12,2))")
        cursor.executemany(
            "INSERT INTO KEYED VALUES (:1, :2, TO_TIMESTAMP(:3, 'YYYY-MM-DD HH24:MI:SS.FF9'), :4, :5, :6, :7)", rows
        )
        connection.commit()
    yield server
    server.stop()


class Reading:
    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def rows(self, table: Table) -> tuple[pl.DataFrame, list[int]]:
        partition = Partition(table, "ALL")
        result = oracle_extract.materialize(PartitionContext(self.workspace, partition))
        manifest = sealed_extract(PartitionContext(self.workspace, partition))
        folder = PartitionContext(self.workspace, partition).paths.generation(result.generation).extract
        found = scan_chunks(folder, manifest.chunks, table).collect().sort("AMT")
        return found, [chunk.rows for chunk in manifest.chunks]


@pytest.fixture
def reading(server: OracleServer, workspaces: Callable[..., Workspace], salesforce: SalesforceSettings) -> Reading:
    return Reading(workspaces(server, salesforce))


def test_a_composite_key_of_every_type_divides_the_rows(reading: Reading) -> None:
    """Blank-padded text, Thai, dates, nanoseconds, fractions and bytes: each row in exactly one chunk."""
    rows, chunks = reading.rows(table_of(KEY))
    assert chunks == [40] * 7 + [20]
    assert rows["AMT"].to_list() == [Decimal(n) / 4 for n in range(300)]


@pytest.mark.parametrize("key", [KEY[0:2], KEY[3:5], KEY[4:5], KEY[2:4]])
def test_rows_with_the_same_key_stay_in_one_chunk(reading: Reading, key: tuple[tuple[str, OracleType], ...]) -> None:
    """A view's key may repeat: ranges grow over the rows they cannot divide, and none is read twice."""
    rows, chunks = reading.rows(table_of(key))
    assert sum(chunks) == rows.height == 300
    assert rows["AMT"].n_unique() == 300


def test_rows_without_a_key_are_extracted_too(server: OracleServer, reading: Reading) -> None:
    """They have no place in the order and travel as a chunk of their own; staging rejects them by name."""
    server.execute(
        "CREATE TABLE HOLES (NO NUMBER, TAG VARCHAR2(10 CHAR), AMT NUMBER(12,2))",
        "INSERT INTO HOLES SELECT CASE WHEN MOD(AMT, 5) = 0 THEN NULL ELSE AMT END, TAG, AMT FROM KEYED",
    )
    rows, chunks = reading.rows(table_of(KEY[3:5], "HOLES"))
    assert rows["AMT"].n_unique() == rows.height == sum(chunks) == 300
    assert chunks[-1] == rows["NO"].null_count() > 0


def test_a_view_is_read_like_a_table(server: OracleServer, reading: Reading) -> None:
    """Its rows are those of its query as of the SCN."""
    server.execute('CREATE VIEW HALF AS SELECT "NO", "TAG", "BYTES", AMT FROM KEYED WHERE AMT < 30')
    rows, chunks = reading.rows(table_of(KEY[3:6], "HALF"))
    assert rows.height == 120
    assert len(chunks) == 3


def test_a_range_names_each_column_once_per_alternative() -> None:
    """Bounds travel as binds of the columns' own types."""
    statement = key_range_condition(table_of(KEY[2:4]), ("2024-01-01 00:00:00.000000001", "7"), ("x", "8"))
    assert statement.binds == {"f0": "2024-01-01 00:00:00.000000001", "f1": Decimal(7), "e0": "x", "e1": Decimal(8)}
    assert '"AT" = TO_TIMESTAMP(:f0' in statement.text
    assert statement.text.count(":f1") == 1


def test_a_key_that_has_no_order_is_refused() -> None:
    """The catalog says so before anything is read."""
    with pytest.raises(CatalogError, match="cannot bound a range of keys"):
        table_of((("AT", timestamp_tz()),))
