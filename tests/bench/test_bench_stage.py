"""`kpc bench stage`: honest contestants, the goals of staging, and figures that a program can read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
from typer.testing import CliRunner

from kpc.bench.baselines.csv_writers import write_with_duckdb, write_with_pandas
from kpc.bench.processes import run_function
from kpc.bench.stage_frames import LINE, write_extract, write_reference
from kpc.bench.staging import GENERATION, copy_reference, extract_folder, floor_of_chunks, sort_alone, stage
from kpc.cli import app
from kpc.storage.layout import staged_folder

ROWS = 3_000


def test_the_figures_are_those_of_the_goals() -> None:
    """All goals of staging are measured in one run; JSON carries value, goal and verdict of each."""
    ran = CliRunner().invoke(app, ["bench", "stage", "--rows", str(ROWS), "--json"])
    figures = {figure["name"]: figure for figure in json.loads(ran.stdout)["figures"]}
    assert {name: figure["goal"] for name, figure in figures.items()} == {
        "pandas to_csv(gzip), times our time": ">= 20",
        "DuckDB COPY (gzip), times our time": ">= 10",
        "plain copying, times encode and deflate alone": "<= 1.3",
        "staging without the sort, times encode and deflate alone": "<= 2.5",
        "the sort, times encode and deflate alone": "<= 1",
        "peak memory of staging 3,000 rows, MB": "<= 500",
        "peak memory of staging 48,000 rows, MB": "<= 500",
    }
    assert all(figure["value"] > 0 for figure in figures.values())
    assert ran.exit_code == (0 if all(figure["ok"] for figure in figures.values()) else 1)


def test_all_writers_write_the_same_rows(tmp_path: Path) -> None:
    """Who is compared does the same work: the frame as 24 columns of CSV, gzip-compressed, every row."""
    source = tmp_path / "reference.parquet"
    write_reference(source, ROWS)
    frame = pl.read_parquet(source)
    assert frame.width == 24
    given = {"source": str(source), "folder": str(tmp_path)}
    for writer in (write_with_pandas, write_with_duckdb, copy_reference):
        assert run_function(writer, given).answer > 0
    for name in ("chunk", "pandas", "duckdb"):
        content = gzip.decompress((tmp_path / f"{name}.csv.gz").read_bytes())
        read = pl.read_csv(content, infer_schema=False, null_values=["#N/A", ""])
        assert read.columns == frame.columns
        for column in ("NOTE", "SALE_DATE", "SEQ"):
            assert read[column].to_list() == frame[column].cast(pl.String).to_list()
        assert read["REMARK"].null_count() == frame["REMARK"].null_count() > ROWS / 5


def test_what_is_staged_is_a_real_partition(tmp_path: Path) -> None:
    """Every made-up line passes every rule, in the order that an extract has, which is not the order of the chunks."""
    write_extract(extract_folder(tmp_path), ROWS, GENERATION)
    given = {"root": str(tmp_path)}
    assert run_function(stage, given).answer > 0
    (chunk,) = extract_folder(tmp_path).parent.glob(f"{staged_folder(LINE.mapping_version)}/chunk-*.csv.gz")
    rows = pl.read_csv(chunk, infer_schema=False)
    assert rows.height == ROWS
    assert rows["External_ID__c"].n_unique() == ROWS
    assert rows["Sale__r.External_ID__c"].n_unique() == ROWS / 3
    extracted = pl.read_parquet(extract_folder(tmp_path) / "*.parquet")
    assert rows["Prod_Serv_Code__c"].to_list() != extracted["PROD_SERV_CODE"].to_list()
    assert run_function(floor_of_chunks, given).answer > 0
    assert run_function(sort_alone, given).answer > 0
