"""Oracle's value, staged, loaded and queried back from the Salesforce emulator, has the checksum it was staged with."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from extracted_rows import Bench, bench, rows_of
from salesforce_emulator_process import EmulatorProcess

from kpc.catalog import find_table
from kpc.catalog.table import Table
from kpc.catalog.types import OracleKind
from kpc.convert.canonical import canonical_from_salesforce, fingerprint, key_hash, row_checksum
from kpc.storage.manifests import StagedManifest

HEADER = find_table("KPS_T_SALES_M")
PAYMENT = find_table("KPS_T_SALESPAY_MD")
WEB = find_table("KPS_WEB_SALES")
ROWS = 300

WORDS = [
    "น้ำใจ", "ก\u0e48\u0e38", "a,b", 'say "x"', "two\r\nlines", "two\nlines", "tab\tin", " blank ", "🎉", "שלום",
    "\u200bzero\u200b", "=cmd()", "null", "#n/a", "O'Brien", "\ufeffbom", "<b>&amp;", "\\n", "x" * 30, "ก" * 30,
]  # fmt: skip
AMOUNTS = ["0", "-0.005", "0.005", "1.005", "9999999999999.99", "-1234567890123.455", "0.1", "100", "1E3"]


@pytest.fixture(scope="module")
def org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    emulator = EmulatorProcess(tmp_path_factory.mktemp("org")).start()
    yield emulator
    assert emulator.stop() == 0


@pytest.fixture
def staging(tmp_path: Path) -> Bench:
    return bench(tmp_path)


def with_hostile_values(table: Table, seed: int) -> pl.DataFrame:
    """Good keys; every other text, number and date is one of the hostile ones, or null."""
    chance = random.Random(seed)  # noqa: S311  test data
    given: dict[str, list[object]] = {}
    for column in table.columns:
        if column.name in table.key or column.date_format or column.picklist_map:
            continue
        choices: list[object] = [None, *WORDS]
        if column.source.kind is OracleKind.NUMBER:
            precision = column.type.precision - column.type.scale if column.type else 0
            choices = [None, *(Decimal(text) for text in AMOUNTS if abs(Decimal(text)) < 10**precision - 1)]
        elif not column.source.is_text:
            start = datetime(1970, 1, 1)  # noqa: DTZ001  an Oracle DATE has no zone
            choices = [None, *(start + timedelta(days=chance.randint(-90_000, 90_000)) for _ in range(20))]
        elif column.source.size and column.source.size < 30:
            choices = [None, *(word for word in WORDS if len(word) <= column.source.size)]
        given[column.name] = [chance.choice(choices) for _ in range(ROWS)]
    return rows_of(table, ROWS, **given)


def load(org: EmulatorProcess, staging: Bench, table: Table, manifest: StagedManifest) -> None:
    """Each chunk as it lies on the disk, gzip and all."""
    for chunk in manifest.chunks:
        job = org.create_job(table.target, lineEnding="LF")
        content = (staging.folder(table, manifest.generation) / chunk.name).read_bytes()
        assert org.upload(job, content, **{"content-encoding": "gzip"}).status_code == 201
        assert org.set_state(job).status_code == 200
        done = org.wait_for(job)
        assert (done["state"], done["numberRecordsFailed"]) == ("JobComplete", 0), org.result(job, "failedResults")


def queried(org: EmulatorProcess, table: Table) -> pl.DataFrame:
    """The object's records by bulk query, in the canonical spelling."""
    soql = f"SELECT {', '.join(table.data_header)} FROM {table.target}"
    job = org.client.post(org.url("jobs/query"), json={"operation": "query", "query": soql}).json()
    org.wait_for(job, "query")
    answer = org.get(f"jobs/query/{job['id']}/results")
    return canonical_from_salesforce(pl.read_csv(io.BytesIO(answer.content), infer_schema=False), table).collect()


@pytest.mark.parametrize("table", [WEB, HEADER, PAYMENT], ids=lambda table: table.name)
def test_what_comes_back_has_the_staged_fingerprint(org: EmulatorProcess, staging: Bench, table: Table) -> None:
    """Hostile texts, amounts and dates in every field: each record's checksum survives the whole way."""
    frame = with_hostile_values(table, seed=5)
    manifest = staging.stage(table, staging.seal(table, [frame]))
    assert (manifest.staged, manifest.rejected) == (ROWS, 0)
    for lookup in table.lookups:
        parent = find_table(lookup.parent)
        load(org, staging, parent, staging.stage(parent, staging.seal(parent, [rows_of(parent, ROWS)])))
    load(org, staging, table, manifest)
    held = queried(org, table).select(key_hash(), row_checksum(table), "External_ID__c")
    folder = staging.folder(table)
    staged = pl.read_parquet(folder / manifest.index_file.name)
    both = staged.join(held, left_on="external_id", right_on="External_ID__c", suffix="_held")
    assert both.height == ROWS
    assert both.filter(pl.col("checksum") != pl.col("checksum_held")).is_empty()
    assert fingerprint(held).equals(pl.read_parquet(folder / manifest.fingerprint_file.name))


def test_a_null_clears_what_the_org_held(org: EmulatorProcess, staging: Bench) -> None:
    """`#N/A` sets null: after a value became NULL in Oracle, both sides are equal again."""
    table = WEB
    frame = rows_of(table, 3, CUSTOMER_NAME=["a", "b", "c"])
    load(org, staging, table, staging.stage(table, staging.seal(table, [frame])))
    generation = "01JBBBBBBBBBBBBBBBBBBBBBBB"
    emptied = rows_of(table, 3, CUSTOMER_NAME=[None] * 3)
    manifest = staging.stage(table, staging.seal(table, [emptied], generation=generation))
    load(org, staging, table, manifest)
    keys = pl.read_parquet(staging.folder(table, generation) / manifest.index_file.name)["external_id"]
    held = queried(org, table).filter(pl.col("External_ID__c").is_in(keys.implode()))
    assert held["Customer_Name__c"].to_list() == [None] * 3
