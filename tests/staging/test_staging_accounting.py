"""Whatever a frame holds, every row of it is staged, unchanged or rejected, by its key."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from extracted_rows import Bench, bench, good_value, parquet_type, rows_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpc.catalog import TABLES, find_table
from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, Column, FieldKind, OracleKind
from kpc.convert.frame import KEY, RULE, convert_frame
from kpc.convert.rules import Rule

HOSTILE_TEXT = st.sampled_from(
    [
        "",
        " ",
        "#N/A",
        "a|b",
        "\x00",
        "x" * 300,
        "ก" * 300,
        "A",
        "a",
        "A ",
        '"',
        ",",
        "\r\n",
        "1",
        "N",
        "Z",
        "2024-05-01",
    ]
) | st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=8)
HOSTILE_NUMBER = st.sampled_from(
    [
        Decimal(0),
        Decimal(1),
        Decimal(2),
        Decimal("-0.005"),
        Decimal("1E16"),
        Decimal("9E27"),
        Decimal("9999999999999999.995"),
    ]
)
HOSTILE_DATE = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))  # noqa: DTZ001  an Oracle DATE has no zone


def cell(column: Column, number: int) -> st.SearchStrategy[object]:
    """Mostly good values, else null or something hostile of the column's type."""
    hostile: st.SearchStrategy[object] = HOSTILE_TEXT
    if column.source.kind is OracleKind.NUMBER:
        hostile = HOSTILE_NUMBER
    elif not column.source.is_text:
        hostile = HOSTILE_DATE
    good = st.just(good_value(column, number))
    return st.integers(0, 19).flatmap(lambda chance: hostile if chance == 0 else st.none() if chance == 1 else good)


@st.composite
def frames(draw: Callable[[st.SearchStrategy[object]], object], tables: list[Table]) -> tuple[Table, pl.DataFrame]:
    table = draw(st.sampled_from(tables))
    assert isinstance(table, Table)
    rows = draw(st.integers(0, 12))
    assert isinstance(rows, int)
    data = {column.name: [draw(cell(column, number)) for number in range(rows)] for column in table.columns}
    return table, pl.DataFrame(data, schema={column.name: parquet_type(table, column) for column in table.columns})


SMALL = [TABLES[name] for name in ("KPS_R_POS_SUPPLIER", "KPS_R_EMAIL_SUPPLIER", "KPS_T_SALESPAY_MD", "KPS_WEB_SALES")]


def check_accounts(staging: Bench, table: Table, frame: pl.DataFrame) -> None:
    """By an independent count: of the rows that keep all rules, those with an id of their own are staged."""
    manifest = staging.stage(table, staging.seal(table, [frame]))
    converted = convert_frame(frame, table, key=partition_key(table), hash_key="campaign-key").collect()
    ids = Counter(identifier.lower() for identifier in converted[EXTERNAL_ID] if identifier is not None)
    parent = pl.col(table.lookups[0].header).fill_null("") if table.lookups else pl.lit("")
    in_order = sorted(
        (parent_id.encode(), identifier.encode())
        for parent_id, identifier, rule in converted.select(parent.alias("parent"), EXTERNAL_ID, RULE).iter_rows()
        if rule is None and ids[identifier.lower()] == 1
    )
    kept = [identifier.decode() for _, identifier in in_order]
    assert staging.sent(table, manifest)[EXTERNAL_ID].to_list() == kept
    assert manifest.extracted == frame.height == manifest.staged + manifest.rejected
    if manifest.rejected:
        listed = staging.rejected(table, manifest)
        assert listed.height == manifest.rejected
        assert set(listed["rule"]) <= set(Rule)
        all_keys = Counter(converted[KEY].fill_null(""))
        all_keys.subtract(Counter(kept))
        assert Counter(listed["source_key"].fill_null("")) == +all_keys


def partition_key(table: Table) -> str:
    return "2024-05" if table.is_monthly else "ALL"


def stage_in_a_new_folder(table: Table, frame: pl.DataFrame) -> None:
    with tempfile.TemporaryDirectory() as folder:
        staging = bench(Path(folder), rejected_share=1.0)
        check_accounts(staging, table, frame)


loose = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


@settings(max_examples=60, **loose)  # type: ignore[arg-type]
@given(frames(SMALL))
def test_every_row_of_a_random_frame_is_accounted_for(case: tuple[Table, pl.DataFrame]) -> None:
    """No row is lost, invented or listed twice, by key."""
    stage_in_a_new_folder(*case)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=10_000, **loose)  # type: ignore[arg-type]
@given(frames(SMALL))
def test_every_row_of_ten_thousand_random_frames_is_accounted_for(case: tuple[Table, pl.DataFrame]) -> None:
    """The long proof of the same."""
    stage_in_a_new_folder(*case)


def test_a_large_partition_is_accounted_for_across_runs_on_disk(tmp_path: Path) -> None:
    """20,000 shuffled rows in several runs, with duplicates and bad rows far apart."""
    table = find_table("KPS_T_SALESPAY_MD")
    good = rows_of(table, 20_000)
    twins = good.gather([5, 19_000]).with_columns(SALE_NO=pl.col("SALE_NO").str.to_lowercase())
    bad = rows_of(table, 3, first=30_000, PAY_AMT=[Decimal("1E17")] * 3)
    frame = pl.concat([twins, good, bad]).sample(fraction=1, shuffle=True, seed=3)
    staging = bench(tmp_path, memory_bytes=3_000_000)
    manifest = staging.stage(table, staging.seal(table, list(frame.iter_slices(7_000))))
    assert (manifest.extracted, manifest.staged, manifest.rejected) == (20_005, 19_998, 7)
    assert staging.sent(table, manifest)[EXTERNAL_ID].n_unique() == 19_998
    rules = Counter(staging.rejected(table, manifest)["rule"])
    assert rules == {Rule.DUPLICATE_EXTERNAL_ID: 4, Rule.NUMBER_OUT_OF_RANGE: 3}
    assert not (staging.folder(table) / ".runs").exists()


def test_the_checkbox_column_is_never_null_in_a_chunk(tmp_path: Path) -> None:
    """`#N/A` in a checkbox is a row error at Salesforce."""
    for table in TABLES.values():
        flags = [c.field for c in table.sent_columns if c.type and c.type.kind is FieldKind.BOOLEAN]
        if not flags:
            continue
        staging = bench(tmp_path / table.slug)
        nulls = {c.name: [None] * 3 for c in table.columns if c.field in flags}
        frame = rows_of(table, 3).with_columns(
            pl.lit(None, dtype=parquet_type(table, table.by_name[name])).alias(name) for name in nulls
        )
        sent = staging.sent(table, staging.stage(table, staging.seal(table, [frame])))
        assert set(sent.select(flags).unpivot()["value"]) == {"false"}
