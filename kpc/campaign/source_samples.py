"""Checks of one source table by a sample of its rows: characters of text, shapes of text dates, sizes of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl
import pyarrow as pa

from kpc.campaign.date_shapes import date_column
from kpc.campaign.source_facts import SourceFacts
from kpc.campaign.system_check import CheckSubject, SystemCheck
from kpc.campaign.text_samples import masked, text_column
from kpc.catalog.character_sets import MOST_BYTES, STORED_AS, UNICODE
from kpc.catalog.table import Table
from kpc.catalog.types import Column, OracleKind
from kpc.extract.statements import quoted
from kpc.extract.text_reading import decode, stored_bytes
from kpc.oracle.session import Oracle, ReadSession
from kpc.oracle.statement import Statement

SAMPLE_ROWS = 10_000
_MOST_ROWS = 4 * SAMPLE_ROWS  # blocks hold more or fewer rows; reaching this bound would leave out the newest rows
_SHOWN = 3
_SAMPLED_KINDS = (OracleKind.CHAR, OracleKind.VARCHAR2, OracleKind.NVARCHAR2)


def check_sample(session: ReadSession, oracle: Oracle, table: Table, facts: SourceFacts) -> Iterator[SystemCheck]:
    """One check per text, date and number column that is read; raises the driver's errors, translated."""
    known = facts.tables.get(table.name)
    if known is None:
        return
    sources = _sources(oracle, table, known.rows if known.object_type == "TABLE" else None)
    columns = [c for c in table.columns if c.source.kind in _SAMPLED_KINDS and (c.is_sent or c.name in table.key)]
    sample = _read(session, sources, columns)
    for column in columns:
        about = CheckSubject("Oracle", f"{table.name}.{column.name}")
        if column.date_format is not None:
            yield from date_column(about, column, sample[column.name][0])
        else:
            found = text_column(about, column, *sample[column.name], character_set=facts.character_set)
            is_bytes = not found.is_ok and column.source.kind is not OracleKind.NVARCHAR2
            yield _with_reading(session, sources, column, found) if is_bytes else found
    yield from _numbers(session, table, sources)


def _sources(oracle: Oracle, table: Table, rows: int | None) -> tuple[str, ...]:
    """What to read from, in order until one gives rows: blocks all over a large table, then its first rows."""
    name = f"{quoted(oracle.owner)}.{quoted(table.name)}"
    if rows is None or rows <= _MOST_ROWS:
        return (name,)
    return f"{name} SAMPLE BLOCK ({max(100 * SAMPLE_ROWS / rows, 0.000001):.6f})", name


def _read(
    session: ReadSession, sources: tuple[str, ...], columns: list[Column]
) -> dict[str, tuple[pl.Series, list[int]]]:
    """Per column its sampled texts, and the rows whose bytes are not text."""
    if not columns:
        return {}
    selected = ", ".join(f"{stored_bytes(c) if c.stored_as else quoted(c.name)} AS {quoted(c.name)}" for c in columns)
    schema = pa.schema([pa.field(c.name, pa.binary() if c.stored_as else pa.string()) for c in columns])
    rows = schema.empty_table()
    for source in sources:
        statement = Statement(f"SELECT {selected} FROM {source} WHERE ROWNUM <= {_MOST_ROWS}")
        rows = pa.Table.from_batches(session.arrow_batches(statement, schema, SAMPLE_ROWS), schema).combine_chunks()
        if rows.num_rows:
            break
    found = {}
    for column in columns:
        values = pa.concat_arrays(rows.column(column.name).chunks) if rows.num_rows else pa.array([], pa.string())
        texts, wrong = decode(values, pa.string(), column.stored_as or UNICODE)
        found[column.name] = pl.Series(column.name, texts, dtype=pl.String), wrong
    return found


def _with_reading(session: ReadSession, sources: tuple[str, ...], column: Column, found: SystemCheck) -> SystemCheck:
    """The failed check with the character set that reads every sampled value's bytes, tried one after the other."""
    if (column.source.size or 0) > MOST_BYTES:
        return found
    for name in STORED_AS:
        texts, wrong = _read(session, sources, [replace(column, stored_as=name)])[column.name]
        if not wrong and name != column.stored_as:
            examples = texts.filter(texts.str.contains(r"[^\x00-\x7F]")).head(_SHOWN)
            shown = "; ".join(masked(value, column) for value in examples)
            remedy = f'Declare stored_as="{name}" of {column.name} in kpc/catalog: it reads all sampled bytes: {shown}.'
            return replace(found, remedy=remedy)
    return replace(
        found,
        remedy=f"{found.remedy} None of {', '.join(STORED_AS)} reads all sampled bytes: several clients stored them.",
    )


def _numbers(session: ReadSession, table: Table, sources: tuple[str, ...]) -> Iterator[SystemCheck]:
    """NUMBERs whose field cannot hold them: counted by Oracle, which alone holds 40 digits."""
    columns = [c for c in table.sent_columns if c.type is not None and c.type.is_number]
    if not columns:
        return
    counts = ", ".join(f"COUNT(CASE WHEN {_is_too_large(column)} THEN 1 END)" for column in columns)
    names = ", ".join(quoted(column.name) for column in columns)
    rows, found = 0, [0] * len(columns)
    for source in sources:
        sample = f"SELECT {names} FROM {source} WHERE ROWNUM <= {_MOST_ROWS}"
        rows, *found = session.row(Statement(f"SELECT COUNT(*), {counts} FROM ({sample})"))
        if rows:
            break
    for column, beyond in zip(columns, found, strict=True):
        about = CheckSubject("Oracle", f"{table.name}.{column.name}")
        if not beyond:
            yield about.ok("number", f"{rows:,} sampled values fit")
            continue
        assert column.type is not None  # noqa: S101  chosen above
        digits = f"{column.type.precision - column.type.scale} digits before the decimal point"
        yield about.warning(
            "number",
            f"{beyond:,} of {rows:,} sampled values do not fit {column.field}, which holds {digits}; their rows would "
            "be rejected.",
            "Have them corrected in Oracle, or widen the field and its declaration in kpc/catalog.",
        )


def _is_too_large(column: Column) -> str:
    assert column.type is not None  # noqa: S101  a number field
    limit = 10 ** (column.type.precision - column.type.scale)
    return f"ABS(ROUND({quoted(column.name)}, {column.type.scale})) >= {limit}"
