"""Functions run in the measured processes: the pipeline's own extraction, and baselines on the same chunks.

Arguments and return values are plain JSON values, because they are passed between processes.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from kpc.bench.baselines.csv_script import export_csv
from kpc.bench.baselines.drain import drain
from kpc.bench.baselines.paging import read_pages
from kpc.bench.oracle_tables import MONTH, TABLES
from kpc.extract.chunk_reader import read_chunks, rows_per_batch
from kpc.extract.control_totals import check_control_totals, measure_extract
from kpc.extract.live_schema import arrow_schema
from kpc.extract.month_reader import make_one_pass_plan, read_months
from kpc.extract.plan import ExtractPlan, make_plan
from kpc.extract.statements import in_partition, quoted, rows_of_chunk
from kpc.extract.text_reading import TextReading
from kpc.oracle.connection import PACKET_BYTES
from kpc.oracle.session import Oracle
from kpc.partition import Partition, month_keys
from kpc.settings import OracleSettings
from kpc.stages.workspace import utc_now
from kpc.storage.store import Store

Login = dict[str, Any]


def plan_of(login: Login, table: str, chunk_rows: int) -> str:
    """The pipeline's chunk plan for the benchmark's month of a table, as JSON."""
    oracle, partition = _source(login, table)
    plan = make_plan(
        oracle, partition, scn=oracle.current_scn(), mode="full", chunk_rows=chunk_rows, started_utc=utc_now()
    )
    return plan.model_dump_json()


def extract_chunks(login: Login, table: str, plan: str, folder: str) -> int:
    """Extract every chunk of the plan to Parquet with the pipeline. Returns the number of rows."""
    oracle, partition = _source(login, table)
    shutil.rmtree(folder, ignore_errors=True)
    entries = read_chunks(oracle, partition, ExtractPlan.model_validate_json(plan), Path(folder))
    return sum(entry.rows for entry in entries)


def drain_chunks(login: Login, table: str, plan: str) -> int:
    """The same with all batches discarded: same statements, sessions and sizes. Returns the number of rows."""
    oracle, partition = _source(login, table)
    wanted = ExtractPlan.model_validate_json(plan)
    rows = wanted.selection(partition)
    totals = wanted.control_totals
    statements = [rows_of_chunk(oracle.owner, rows, chunk.within(partition.table), totals) for chunk in wanted.chunks]
    schema = TextReading(partition.table, table, arrow_schema(partition.table)).fetched
    return drain(
        connect={**login, "sdu": PACKET_BYTES},
        queries=[(statement.text, statement.binds) for statement in statements],
        schema=schema,
        fetch_rows=rows_per_batch(schema, oracle.settings.fetch_rows),
        sessions=oracle.settings.sessions,
    )


def export_partition(login: Login, table: str, plan: str, folder: str) -> int:
    """Export the same rows with the plain script. Returns the number of rows."""
    oracle, partition = _source(login, table)
    Path(folder).mkdir(exist_ok=True)
    wanted = ExtractPlan.model_validate_json(plan)
    statement = rows_of_chunk(oracle.owner, wanted.selection(partition), None, wanted.control_totals)
    path = str(Path(folder, "rows.csv.gz"))
    return export_csv(connect=login, statement=statement.text, binds=statement.binds, path=path)


def extract_partition(login: Login, table: str, chunk_rows: int, folder: str) -> int:
    """A worker's whole extraction: plan, chunks, comparison with control totals. Returns the number of rows."""
    oracle, partition = _source(login, table)
    plan = ExtractPlan.model_validate_json(plan_of(login, table, chunk_rows))
    shutil.rmtree(folder, ignore_errors=True)
    chunks = read_chunks(oracle, partition, plan, Path(folder))
    read = measure_extract(Path(folder), chunks, partition.table)
    check_control_totals(partition, oracle=plan.control_totals, extract=read)
    return read.rows


def page_partition(login: Login, table: str, pages: int) -> int:
    """Read the same month in pages by ROW_NUMBER, as of one SCN. Returns the number of rows."""
    oracle, partition = _source(login, table)
    where = in_partition(partition)
    source = f"{quoted(oracle.owner)}.{quoted(table)} AS OF SCN {oracle.current_scn():d}"
    return read_pages(
        connect={**login, "sdu": PACKET_BYTES},
        rows_of=f"FROM {source} WHERE {where.text}",
        columns=", ".join(quoted(column.name) for column in partition.table.columns),
        binds=dict(where.binds),
        pages=pages,
    )


def read_months_at_once(login: Login, table: str, chunk_rows: int, folder: str, months: int) -> int:
    """Read interleaved months in one pass: control totals, plan and chunks. Returns the number of rows."""
    oracle, _ = _source(login, table)
    partitions = [Partition(TABLES[table], key) for key in month_keys(MONTH, months)]
    shutil.rmtree(folder, ignore_errors=True)
    scn, now = oracle.current_scn(), utc_now()
    plan = make_one_pass_plan(oracle, partitions, scn=scn, spec_hash="bench", chunk_rows=chunk_rows, started_utc=now)
    read_months(oracle, partitions, plan, Path(folder), Store(Path(folder)))
    return sum(one.rows for one in plan.control_totals.values())


def _source(login: Login, table: str) -> tuple[Oracle, Partition]:
    settings: dict[str, Any] = {**login, "password": SecretStr(login["password"])}
    return Oracle(OracleSettings(**settings)), Partition(TABLES[table], MONTH)
