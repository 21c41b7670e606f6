"""What statements cost: a scan, a sort and an aggregate need the seconds that a table of the declared size needs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import oracledb
import pytest
from oracle_emulator_process import emulator
from oracle_sql_client import Client

from kpc.emulators.oracle.engine import SeedPlan, open_database
from kpc.emulators.oracle.interface import StatementCost

MONTHS = tuple(f"2024-{month:02d}" for month in range(1, 13))
ROWS = 24_000
LINES = "KPS_T_SALES_MD"
SCALE = 25_000  # some 10,000 stored sale lines stand for 261 million
ONE_MONTH = "SALE_DATE BETWEEN '2024-03-01' AND '2024-03-31'"
CALL_TIMEOUT_S = 600


def seeded(layout: str, scale: int = SCALE) -> Client:
    seed = SeedPlan(ROWS, months=MONTHS, layout=layout)
    return Client(open_database(user="kps", password="secret", seed=seed, scale=scale))


@pytest.fixture(scope="module")
def heap() -> Iterator[Client]:
    client = seeded("heap")
    yield client
    client.database.close()


def cost(client: Client, sql: str) -> StatementCost:
    """The cost of a query; its rows are not fetched."""
    outcome = client.execute(sql)
    assert outcome.rows is not None
    outcome.rows.close()
    return outcome.cost


def test_numbering_a_large_table_takes_longer_than_a_call_may(heap: Client) -> None:
    """261 million rows: a count takes minutes, numbering them more than ten, and the sort is written to TEMP."""
    rows = heap.one(f"SELECT NUM_ROWS FROM USER_TABLES WHERE TABLE_NAME = '{LINES}'")
    assert 200e6 < rows < 320e6
    counted = cost(heap, f"SELECT COUNT(*) FROM {LINES}")
    numbered = cost(heap, f"SELECT ROW_NUMBER() OVER (ORDER BY ROWID) FROM {LINES}")
    assert 120 < counted.last_row_s < CALL_TIMEOUT_S < numbered.last_row_s
    assert (counted.temp_bytes, numbered.temp_bytes > 5e9) == (0, True)


def test_a_month_of_a_heap_costs_the_whole_table(heap: Client) -> None:
    """Without index or partitions every month is found by reading all of them."""
    month = cost(heap, f"SELECT COUNT(*) FROM {LINES} WHERE {ONE_MONTH}")
    whole = cost(heap, f"SELECT COUNT(*) FROM {LINES}")
    assert month.last_row_s > 0.9 * whole.last_row_s


def test_rownum_alone_ends_the_scan(heap: Client) -> None:
    """The first row of a large table costs nothing; with another condition the row may be the last one."""
    assert cost(heap, f"SELECT 1 FROM {LINES} WHERE ROWNUM = 1").last_row_s == 0
    assert cost(heap, f"SELECT COUNT(*) FROM {LINES} WHERE ROWNUM <= 500").last_row_s == 0
    assert cost(heap, f"SELECT 1 FROM {LINES} WHERE ROWNUM = 1 AND PROD_SERV_QTY > 0").last_row_s > 60
    large = cost(heap, f"SELECT COUNT(*) FROM {LINES} WHERE ROWNUM < 1e8").last_row_s
    assert 0.2 < large / cost(heap, f"SELECT COUNT(*) FROM {LINES}").last_row_s < 0.8


@pytest.mark.parametrize(
    ("layout", "condition", "share"),
    [("partitions", ONE_MONTH, 0.15), ("index", "SALE_DATE BETWEEN '2024-03-01' AND '2024-03-03'", 0.3)],
)
def test_partitions_and_an_index_save_reads(layout: str, condition: str, share: float) -> None:
    """Partitions leave out eleven months of twelve; an index reads block by block and only pays for some days."""
    client = seeded(layout)
    whole = cost(client, f"SELECT COUNT(*) FROM {LINES}").last_row_s
    assert cost(client, f"SELECT COUNT(*) FROM {LINES} WHERE {condition}").last_row_s < share * whole
    hidden = cost(client, f"SELECT COUNT(*) FROM {LINES} WHERE SUBSTR(SALE_DATE, 1, 7) = '2024-03'").last_row_s
    assert hidden > 0.9 * whole, "a function of the column serves neither"
    client.database.close()


def test_an_index_is_not_used_for_most_of_the_table() -> None:
    client = seeded("index")
    whole = cost(client, f"SELECT COUNT(*) FROM {LINES}").last_row_s
    most = cost(client, f"SELECT COUNT(*) FROM {LINES} WHERE SALE_DATE >= '2024-02-01'").last_row_s
    assert most <= 1.01 * whole
    client.database.close()


def test_a_rowid_range_costs_its_rows(heap: Client) -> None:
    first, last = heap.rows(f"SELECT MIN(ROWID), MAX(ROWID) FROM {LINES} WHERE {ONE_MONTH}")[0]
    whole = cost(heap, f"SELECT COUNT(*) FROM {LINES}").last_row_s
    chunk = cost(
        heap,
        f"SELECT * FROM {LINES} WHERE ROWID BETWEEN CHARTOROWID('{first}') AND CHARTOROWID('{last}')",
    )
    assert chunk.last_row_s < 0.2 * whole
    assert chunk.first_row_s == 0, "rows flow while the range is read"


def test_aggregates_and_parallel_servers_count(heap: Client) -> None:
    """Thirty aggregates cost more than one, PARALLEL divides, and only up to the servers that there are."""
    many = ", ".join(["SUM(AMT_EXC_VAT)"] * 30)
    serial = cost(heap, f"SELECT {many} FROM {LINES}").last_row_s
    assert serial > 2 * cost(heap, f"SELECT SUM(AMT_EXC_VAT) FROM {LINES}").last_row_s
    by_degree = [
        cost(heap, f"SELECT /*+ PARALLEL(t, {n}) */ {many} FROM {LINES} t").last_row_s / serial for n in (2, 4, 64)
    ]
    assert by_degree == pytest.approx([1 / 2, 1 / 4, 1 / 4])
    for hint in ("PARALLEL(2)", "PARALLEL (t 2)", "FULL(t) PARALLEL(t,2)"):
        assert cost(heap, f"SELECT /*+ {hint} */ {many} FROM {LINES} t").last_row_s == pytest.approx(serial / 2)


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT DISTINCT SALE_NO FROM {LINES}",
        f"SELECT SALE_NO FROM {LINES} ORDER BY SALE_NO",
        f"SELECT SALE_NO FROM {LINES} UNION SELECT SALE_NO FROM {LINES}",
        f"SELECT COUNT(*) FROM (SELECT RANK() OVER (ORDER BY SALE_NO) r FROM {LINES})",
    ],
)
def test_whatever_sorts_a_table_costs_a_sort(heap: Client, sql: str) -> None:
    assert cost(heap, sql).temp_bytes > 1e9
    assert cost(heap, sql).first_row_s > CALL_TIMEOUT_S


def test_the_dictionary_and_small_tables_cost_nothing(heap: Client) -> None:
    for sql in ("SELECT COUNT(*) FROM USER_TAB_COLUMNS", "SELECT 1 FROM DUAL"):
        assert cost(heap, sql) == StatementCost()
    small = seeded("heap", scale=1)
    assert cost(small, "SELECT * FROM KPS_R_POS_SUPPLIER").last_row_s == 0
    small.database.close()


def test_the_dictionary_tells_size_partitions_and_indexes() -> None:
    """What a DBA's query of the dictionary finds: rows and blocks by statistics, bounds of partitions, segments."""
    client = seeded("partitions")
    parts = client.rows(
        "SELECT PARTITION_NAME, HIGH_VALUE, NUM_ROWS FROM USER_TAB_PARTITIONS "
        f"WHERE TABLE_NAME = '{LINES}' ORDER BY PARTITION_POSITION"
    )
    assert [name for name, _, _ in parts] == [f"P_{month.replace('-', '_')}" for month in MONTHS]
    assert (parts[0][1], parts[-1][1]) == ("'2024-02-01'", "MAXVALUE")
    rows, blocks, length = client.rows(
        f"SELECT NUM_ROWS, BLOCKS, AVG_ROW_LEN FROM ALL_TAB_STATISTICS WHERE TABLE_NAME = '{LINES}'"
    )[0]
    assert sum(found for _, _, found in parts) == rows
    assert float(blocks * 8192) == pytest.approx(float(rows * length) / 0.9, rel=0.02)
    assert client.one(f"SELECT BYTES FROM USER_SEGMENTS WHERE SEGMENT_NAME = '{LINES}'") == blocks * 8192
    assert client.rows(f"SELECT COLUMN_NAME FROM ALL_PART_KEY_COLUMNS WHERE NAME = '{LINES}'") == [("SALE_DATE",)]
    client.database.close()


def test_statistics_are_as_old_as_they_were_gathered() -> None:
    """A new table has none; rows that come later are not in them until they are gathered again."""
    client = Client(open_database(user="kps", password="secret"))
    client.execute("CREATE TABLE t (n NUMBER, d DATE) PARTITION BY RANGE (d) (PARTITION p1 VALUES LESS THAN "
                   "(DATE '2024-02-01'), PARTITION p2 VALUES LESS THAN (MAXVALUE))")  # fmt: skip
    seen = "SELECT NUM_ROWS FROM USER_TABLES WHERE TABLE_NAME = 'T'"
    assert client.one(seen) is None
    client.execute("INSERT INTO t SELECT LEVEL, DATE '2024-01-01' + LEVEL FROM DUAL CONNECT BY LEVEL <= 100")
    client.session.commit()
    assert client.one(seen) is None
    client.execute("BEGIN DBMS_STATS.GATHER_TABLE_STATS('KPS', 'T'); END;")
    assert client.one(seen) == 100
    assert client.rows("SELECT PARTITION_NAME, NUM_ROWS FROM USER_TAB_PARTITIONS ORDER BY 1") == [
        ("P1", 30),
        ("P2", 70),
    ]
    assert client.error("CREATE TABLE u (n NUMBER) PARTITION BY HASH (n) PARTITIONS 4").code == 3001
    assert (
        client.error("CREATE TABLE u (n NUMBER) PARTITION BY RANGE (m) (PARTITION p VALUES LESS THAN (MAXVALUE))").code
        == 904
    )


def test_a_client_with_divided_limits_meets_the_time_out(tmp_path: Path) -> None:
    """The emulator waits its virtual seconds divided by the scale, so a call_timeout divided by it strikes alike."""
    scale, rows = 1000, 400_000
    with emulator(tmp_path, "--scale", str(scale)) as (_, facts), oracledb.connect(**facts) as connection:
        cursor = connection.cursor()
        cursor.execute(
            f"CREATE TABLE big AS SELECT LEVEL n, LPAD('x', 250, 'x') s FROM DUAL CONNECT BY LEVEL <= {rows}"
        )
        connection.call_timeout = round(CALL_TIMEOUT_S / scale * 1000)
        began = time.monotonic()
        cursor.execute("SELECT COUNT(*) FROM big")
        assert cursor.fetchone() == (rows,)
        assert time.monotonic() - began > 0.2
        with pytest.raises(oracledb.DatabaseError, match="DPY-4024"):
            cursor.execute("SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER (ORDER BY ROWID) n FROM big)").fetchall()
        cursor.execute("SELECT 1 FROM DUAL")
        assert cursor.fetchone() == (1,), "the connection is usable after the break"
