"""Any value of any kind: Oracle -> extract -> CSV -> Salesforce -> bulk query is what the rules say, character by
character.

Both servers are the emulators, everything between them is the real pipeline, and what must come out is said by a model
in plain Python that shares no code with it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import polars as pl
import pytest
from emulated_org import start_emulator
from extracted_rows import good_value
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from lineage import results_by_stage
from oracle_source import OracleServer, road_settings, start_oracle

from kpc.catalog import TABLES, find_table
from kpc.catalog.table import Table
from kpc.catalog.types import (
    EXTERNAL_ID,
    PARTITION_FIELD,
    Column,
    DateFormat,
    FieldKind,
    NullRule,
    OracleKind,
    Pii,
)
from kpc.convert.canonical import canonical_from_salesforce
from kpc.partition import Partition
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace, open_workspace

ROWS = 10  # per example; always the same keys, so that one example's records replace the one's before
EXAMPLES = 5  # per table
KEY = b"not-a-secret-only-a-test"
Cells = dict[str, list[object]]

CHARACTERS = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
PIECES = st.sampled_from(
    ["\n", "\r\n", "\r", "\t", '"', ",", "|", "'", " ", "\u00a0", "\u3000", "=1+1", "#N/A ", "น้ำ", "\u0e48\u0e38", "🎉"]
) | CHARACTERS  # fmt: skip


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OracleServer, Workspace]]:
    """A source and an org of this file's own."""
    folder: Path = tmp_path_factory.mktemp("property")
    oracle = start_oracle(folder / "oracle", "--rows", "500", "--months", "2024-05")
    org = start_emulator(folder / "org")
    with open_workspace(road_settings(folder, oracle.settings, org.settings), run_id="test", actor="test") as workspace:
        yield oracle, workspace
    org.stop()
    oracle.stop()


def texts(column: Column) -> st.SearchStrategy[object]:
    """Any text that fits the column; only a field that cuts gets one that is longer than itself."""
    size = column.source.size or 20
    target = column.type.length if column.type and column.pii is not Pii.HASH else size
    longest = size if column.too_long == "truncate" else min(size, target)
    text = st.lists(PIECES, max_size=12).map("".join) | st.just("ก" * longest) | st.just("x" * (longest - 1) + " ")
    return text.map(lambda value: value[:longest]).filter(lambda value: value.strip() != "#N/A")


def numbers(column: Column) -> st.SearchStrategy[object]:
    """NUMBER with up to ten decimals, up to the last value that the field can hold."""
    assert column.type is not None
    if column.type.kind is FieldKind.BOOLEAN:
        return st.sampled_from([Decimal(0), Decimal(1)])
    digits = column.type.precision - column.type.scale
    largest = Decimal(10) ** digits - Decimal(1)
    ties = st.integers(-999, 999).map(lambda n: Decimal(n) + Decimal(5).scaleb(-column.type.scale - 1))  # type: ignore[union-attr]
    return st.integers(0, 10).flatmap(lambda places: st.decimals(-largest, largest, places=places)) | ties


def moments(column: Column) -> st.SearchStrategy[object]:
    """Local moments whose UTC Salesforce takes; as the column holds them."""
    found = st.datetimes(datetime(1700, 1, 2), datetime(3999, 12, 31)).map(lambda at: at.replace(microsecond=0))  # noqa: DTZ001
    return found if column.date_format is None else found.map(lambda at: spelled(column, at))


def spelled(column: Column, at: datetime) -> str:
    assert column.date_format is not None
    year = f"{at.year + column.calendar.year_offset:04d}"
    day = f"{at:%d/%m}/{year}" if column.date_format.is_day_first else f"{year}-{at:%m-%d}"
    return f"{day} {at:%H:%M:%S}" if column.date_format.has_time else day


def cells(column: Column, table: Table) -> st.SearchStrategy[list[object]]:
    if column.name in table.key:
        return st.just([good_value(column, number) for number in range(1, ROWS + 1)])
    if column.date_format or not (column.source.is_text or column.source.kind is OracleKind.NUMBER):
        some = moments(column)
    elif column.type and column.type.kind is FieldKind.EMAIL:
        some = st.from_regex(r"[a-z0-9]{1,12}(\.[a-z]{1,8})?@[a-z]{1,10}\.co\.th", fullmatch=True)
    elif column.picklist_map:
        some = st.sampled_from([code for code, _ in column.picklist_map])
    else:
        some = texts(column) if column.source.is_text else numbers(column)
    return st.lists(st.none() | some, min_size=ROWS, max_size=ROWS)


def rows(table: Table) -> st.SearchStrategy[Cells]:
    return st.fixed_dictionaries({column.name: cells(column, table) for column in table.columns})


def expected(column: Column, value: object) -> str | None:
    """What Salesforce must hold, as text: docs/values.md, once more in plain Python."""
    assert column.type is not None
    if isinstance(value, str):
        value = re.sub("\r\n?", "\n", value).strip() or None
    if value is None:
        return _of_null(column)
    if column.date_format is not None:
        value = _read(column, str(value))
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}" if column.type.kind is FieldKind.DATE else _utc(value)
    if column.type.kind is FieldKind.BOOLEAN:
        return "true" if value else "false"
    if column.type.is_number:
        return _rounded(Decimal(str(value)), column.type.scale)
    return _as_text(column, str(value))


def _of_null(column: Column) -> str | None:
    scale = column.type.scale if column.type else 0
    return {NullRule.ZERO: _rounded(Decimal(0), scale), NullRule.FALSE: "false"}.get(column.null, column.default)


def _rounded(value: Decimal, scale: int) -> str:
    rounded = value.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)
    return f"{rounded or abs(rounded):f}"


def _read(column: Column, text: str) -> datetime:
    form = {DateFormat.ISO: "%Y-%m-%d", DateFormat.DMY: "%d/%m/%Y"}.get(column.date_format)  # type: ignore[arg-type]
    form = form or ("%d/%m/%Y %H:%M:%S" if column.date_format is DateFormat.DMY_TIME else "%Y-%m-%d %H:%M:%S")
    offset = column.calendar.year_offset
    gregorian = re.sub(r"\d{4}", lambda year: f"{int(year[0]) - offset:04d}", text, count=1)
    return datetime.strptime(gregorian, form)  # noqa: DTZ007  local, as Oracle holds it


def _utc(local: datetime) -> str:
    return f"{(local - timedelta(hours=7)).isoformat()}.000Z"


def _as_text(column: Column, text: str) -> str:
    assert column.type is not None
    if column.picklist_map:
        return dict(column.picklist_map)[text]
    if column.pii is Pii.HASH:
        return hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()
    text = text[: column.type.length].rstrip()
    if column.pii is Pii.MASK:
        return "*" * (len(text) - 4) + text[-4:] if len(text) > 4 else "*" * len(text)
    return text


def put(oracle: OracleServer, table: Table, given: Cells) -> None:
    """The rows and no others, through the driver."""
    names, places = ", ".join(given), ", ".join(f":{number}" for number in range(1, len(given) + 1))
    statement = f"INSERT INTO {table.name} ({names}) VALUES ({places})"
    with oracle.connect() as connection:
        cursor = connection.cursor()
        cursor.execute(f"DELETE FROM {table.name}")
        cursor.executemany(statement, list(zip(*given.values(), strict=True)))
        connection.commit()


def held(workspace: Workspace, partition: Partition, folder: Path) -> pl.DataFrame:
    """What the org holds, by bulk query, in the canonical spelling, by external id."""
    table = partition.table
    soql = f"SELECT {', '.join(table.data_header)} FROM {table.target} WHERE {PARTITION_FIELD} LIKE '{partition.key}/%'"
    files = workspace.salesforce.bulk_query(soql, folder).files
    return canonical_from_salesforce(pl.scan_csv(files, infer_schema=False), table).collect().sort(EXTERNAL_ID)


def check(road: tuple[OracleServer, Workspace], table: Table, given: Cells, folder: Path) -> None:
    oracle, workspace = road
    partition = Partition(table, "2024-05" if table.is_monthly else "ALL")
    put(oracle, table, given)
    results = results_by_stage(PartitionContext(workspace, partition), mode="full")
    assert results["staged_csv"].detail["staged"] == ROWS
    assert results["reconciled"].state == "reconciled"
    found = held(workspace, partition, folder)
    columns = table.sent_columns
    wanted = zip(
        *([as_api(column, expected(column, value)) for value in given[column.name]] for column in columns), strict=True
    )
    arrived = zip(*([as_api(column, value) for value in found[column.field or ""]] for column in columns), strict=True)
    assert sorted(arrived, key=repr) == sorted(wanted, key=repr)


def as_api(column: Column, value: str | None) -> str | float | None:
    """A value as the API can tell it: a number of more than 15 digits is only known as a double."""
    if value is None or column.type is None or not column.type.is_number:
        return value
    return float(value) if sum(map(str.isdigit, value.lstrip("-0."))) > 15 else value


TABLES_BY_KIND = {
    "KPS_R_EMAIL_TENANT": "e-mail",
    "KPS_R_POS_SUPPLIER": "checkbox, phone, CHAR padding",
    "KPS_T_SALES_APPRV": "days in DD/MM/YYYY, picklist with codes, DATE",
    "KPS_WEB_SALES": "keyed hash, moments in DD/MM/YYYY, picklist",
    "KPS_T_SALES_M": "Buddhist years, cut text, numbers of three scales",
    "KPS_T_SALESPAY_MD": "mask, lookup, DATE",
}


@pytest.mark.parametrize("name", TABLES_BY_KIND)
def test_any_value_arrives_as_the_rules_say(
    road: tuple[OracleServer, Workspace], tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    """Hypothesis chooses every cell; ten rows at a time go through all four stages."""
    table = find_table(name)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking would travel the road for an hour
        suppress_health_check=list(HealthCheck),
    )
    @given(rows(table))
    def travel(given: Cells) -> None:
        put(road[0], table, given)  # before the parents are read: the first read of a family decides its SCN
        for lookup in table.lookups:
            parent = find_table(lookup.parent)
            check(road, parent, _good(parent), tmp_path_factory.mktemp("query"))
        check(road, table, given, tmp_path_factory.mktemp("query"))

    travel()


def _good(table: Table) -> Cells:
    return {column.name: [good_value(column, number) for number in range(1, ROWS + 1)] for column in table.columns}


def test_the_tables_cover_every_kind_of_field() -> None:
    """A kind of field that no table here has would go untried."""
    tried = {column.type.kind for name in TABLES_BY_KIND for column in find_table(name).sent_columns if column.type}
    assert tried == {column.type.kind for table in TABLES.values() for column in table.sent_columns if column.type}
