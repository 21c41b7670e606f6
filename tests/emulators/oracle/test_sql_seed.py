"""The seeded KPS schema: deterministic, consistent, valid except for what is planted."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest
from oracle_sql_client import Client

from kpc.catalog import TABLES, children
from kpc.catalog.types import OracleKind
from kpc.convert.frame import convert_frame
from kpc.emulators.oracle.engine import SeedPlan, open_database
from kpc.emulators.oracle.seed import planted_bad_rows, rows_by_table

MONTHS = ("2024-01", "2024-02")
ROWS = 6_000


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    database = open_database(user="kps", password="secret", seed=SeedPlan(ROWS, months=MONTHS))
    yield Client(database)
    database.close()


def test_every_table_has_its_planned_rows(client: Client) -> None:
    """The plan adds up to about the wanted number, in the proportions of a year."""
    plan = rows_by_table(ROWS, MONTHS)
    assert {name: client.one(f"select count(*) from {name}") for name in TABLES} == plan
    assert abs(sum(plan.values()) - ROWS) < ROWS * 0.02
    assert 2.2 < plan["KPS_T_SALES_MD"] / plan["KPS_T_SALES_M"] < 2.6


@pytest.mark.parametrize("rows", [1, 100, 10_000, 5_000_000])
def test_a_plan_of_any_size_has_every_table(rows: int) -> None:
    """Even a tiny database has a row in each table, and a row per month in the monthly ones."""
    plan = rows_by_table(rows, MONTHS)
    assert set(plan) == set(TABLES)
    assert min(plan.values()) >= 1


@pytest.mark.parametrize("name", TABLES)
def test_keys_are_unique_and_parents_exist(client: Client, name: str) -> None:
    """No natural key twice, not even when case is ignored; every child's parent is there."""
    table = TABLES[name]
    key = ", ".join(f"upper({c})" if table.by_name[c].source.is_text else c for c in table.key)
    assert client.one(f"select count(*) from (select 1 x from {name} group by {key} having count(*) > 1)") == 0
    for lookup in table.lookups:
        parent = TABLES[lookup.parent]
        same = " and ".join(f"p.{a} = c.{b}" for a, b in zip(parent.key, lookup.columns, strict=True))
        assert (
            client.one(f"select count(*) from {name} c where not exists (select 1 from {parent.name} p where {same})")
            == 0
        )


def test_the_columns_are_as_the_catalog_declares_them(client: Client) -> None:
    """Names, types, lengths and NOT NULL."""
    for table in TABLES.values():
        described = client.describe(f"select * from {table.name}")
        assert [c.name for c in described] == [c.name for c in table.columns]
        for column, declared in zip(described, table.columns, strict=True):
            assert column.nullable == (declared.nullable and declared.name not in table.key)
            if declared.source.is_text:
                assert column.chars == declared.source.size


def test_sale_dates_lie_in_their_months(client: Client) -> None:
    """The partition column is always a valid date of one of the months, in the declared format."""
    for table in TABLES.values():
        if table.month_column:
            month = f"to_char(to_date({table.month_column}, 'YYYY-MM-DD'), 'YYYY-MM')"
            sql = f"select distinct {month} from {table.name} order by 1"
            assert [month for (month,) in client.rows(sql)] == list(MONTHS)


def test_dates_follow_their_format_and_calendar(client: Client) -> None:
    """Buddhist years stand where they are declared."""
    years = client.rows("select distinct substr(create_date, 7, 4) from kps_t_sales_m where create_date is not null")
    assert years == [("2567",)]
    assert (
        client.one(
            "select count(*) from kps_t_sales_m where to_date(doc_date, 'YYYY-MM-DD HH24:MI:SS') < date '2024-01-01'"
        )
        == 0
    )


def test_the_texts_are_nasty(client: Client) -> None:
    """Thai, quotes, commas, line breaks and emoji occur, NULLs too, and CHARs are padded."""
    for piece in ("ใจ", '"', "''", ",", "😀"):
        assert client.one(f"select count(*) from kps_t_sales_m where name like '%{piece}%'") > 0
    assert client.one("select count(*) from kps_t_sales_m where instr(void_reason, chr(10)) > 0") > 0
    assert client.one("select count(*) from kps_t_sales_m where name is null") > 0
    assert client.one("select count(*) from kps_t_sales_m where length(nation_code) <> 3") == 0


def test_no_value_is_too_big_for_its_field(client: Client) -> None:
    """Numbers fit the declared target precision."""
    for table in TABLES.values():
        for column in table.sent_columns:
            if column.source.kind is OracleKind.NUMBER and column.type is not None and column.type.is_number:
                limit = Decimal(10) ** (column.type.precision - column.type.scale)
                assert client.one(f"select nvl(max(abs({column.name})), 0) from {table.name}") < limit


def test_the_same_seed_gives_the_same_rows() -> None:
    """Two databases agree row by row; another seed differs."""

    def digest(seed: int) -> object:
        database = open_database(user="kps", password="secret", seed=SeedPlan(1_000, seed, months=MONTHS))
        try:
            client = Client(database)
            return [
                client.rows(f"select * from {name} order by rowid") for name in ("KPS_T_SALES_M", "KPS_T_PREINV_DETAIL")
            ]
        finally:
            database.close()

    assert digest(7) == digest(7)
    assert digest(7) != digest(8)


def test_bad_rows_are_planted_where_the_list_says(client: Client) -> None:
    """Exactly the listed cells differ from the clean database, all in tables without children."""
    planted = planted_bad_rows(rows=ROWS, bad_rows=30, months=MONTHS, seed=42)
    assert len({(bad.table, bad.row) for bad in planted}) == 30
    assert len({bad.kind for bad in planted}) == 6
    assert not any(children(bad.table) for bad in planted)
    assert not any(bad.column == TABLES[bad.table].month_column for bad in planted)
    database = open_database(user="kps", password="secret", seed=SeedPlan(ROWS, bad_rows=30, months=MONTHS))
    try:
        dirty = Client(database)
        for name, table in TABLES.items():
            sql = f"select * from {name} order by rowid"
            before, after = client.rows(sql), dirty.rows(sql)
            names = [c.name for c in table.columns]
            changed = {
                (name, row, names[i])
                for row, (a, b) in enumerate(zip(before, after, strict=True))
                for i in range(len(names))
                if a[i] != b[i]
            }
            assert changed == {(bad.table, bad.row, bad.column) for bad in planted if bad.table == name}
    finally:
        database.close()


def test_more_bad_rows_than_fit_are_refused() -> None:
    """A clear error instead of a database that is all wrong."""
    with pytest.raises(ValueError, match="do not fit"):
        planted_bad_rows(rows=100, bad_rows=1_000, months=MONTHS)


@pytest.mark.parametrize("bad_rows", [0, 30])
def test_staging_rejects_the_planted_rows_and_no_other(bad_rows: int) -> None:
    """The real conversion rules agree with what the seed calls valid and bad, row by row."""
    planted = planted_bad_rows(rows=ROWS, bad_rows=bad_rows, months=MONTHS, seed=42)
    database = open_database(user="kps", password="secret", seed=SeedPlan(ROWS, bad_rows=bad_rows, months=MONTHS))
    try:
        client = Client(database)
        rejected = set()
        for name, table in TABLES.items():
            condition = (
                [f"substr({table.month_column}, 1, 7) = '{m}'" for m in MONTHS] if table.month_column else ["1 = 1"]
            )
            offset = 0
            for key, where in zip(MONTHS if table.month_column else ("ALL",), condition, strict=True):
                outcome = client.execute(f"select * from {name} where {where} order by rowid")
                assert outcome.rows is not None
                batches = list(outcome.rows.batches())
                arrow = pa.Table.from_batches(batches).rename_columns([c.name for c in table.columns])
                rules = convert_frame(pl.from_arrow(arrow), table, key=key, hash_key="k").collect()["__rule"].to_list()  # type: ignore[arg-type]  # a table gives a frame
                rejected |= {(name, offset + row) for row, rule in enumerate(rules) if rule is not None}
                offset += len(rules)
        assert rejected == {(bad.table, bad.row) for bad in planted}
    finally:
        database.close()
