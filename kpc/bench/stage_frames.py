"""Input frames of the staging benchmark: derived from row numbers alone, identical on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from kpc.catalog import find_table
from kpc.catalog.types import Column, FieldKind
from kpc.extract.live_schema import arrow_schema
from kpc.private_files import make_private
from kpc.stages.workspace import utc_now
from kpc.storage.manifests import ControlTotals, ExtractManifest
from kpc.storage.store import FileEntry, describe_file, write_manifest

LINE = find_table("KPS_T_SALES_MD")
MONTH = "2024-05"
_ROW = pl.col("row")
_GROUP_ROWS = 50_000  # the number of rows in an Oracle batch
_CHUNK_ROWS = 500_000
_NAMES = ("สมชาย ใจดี", "สุดารัตน์ แก้วมณี", "Sean O'Brien", "กิตติพงษ์ ณ อยุธยา", "Anna Müller")
_NOTES = ("ลูกค้าขอเปลี่ยนสินค้า", 'said "ok", then left', "ส่วนลด 10%, สมาชิก", "duty-free, gate C4", "ไม่มีหมายเหตุ")


def write_reference(path: Path, rows: int) -> None:
    """Write 24 columns as Parquet: 14 texts (3 in Thai), 3 dates as text, 2 integers, 5 decimals; up to 40 % null."""
    texts = [_coded(f"CODE_{number}", number).alias(f"CODE_{number}") for number in range(10)]
    frame = _rows(0, rows).select(
        *texts,
        _one_of(_NAMES, 1).alias("NAME_TH"),
        _one_of(_NOTES, 2).alias("NOTE"),
        _sparse(_one_of(_NOTES, 3), 3, 6).alias("REMARK"),
        _sparse(_coded("REF", 4), 4, 7).alias("REFERENCE"),
        _day().alias("SALE_DATE"),
        (_day() + pl.format(" {}:15:00", _two_digits(_mixed(5) % 24))).alias("CREATED"),
        _sparse(_day(), 6, 8).alias("UPDATED"),
        _ROW.alias("SEQ"),
        (_mixed(7) % 100).cast(pl.Int32).alias("QUANTITY"),
        *(_money(number, 4 if number == 4 else 2).alias(f"AMOUNT_{number}") for number in range(5)),
    )
    frame.write_parquet(path, compression="zstd", compression_level=1)


def write_extract(folder: Path, rows: int, generation: str) -> None:
    """Write a sealed extract of KPS_T_SALES_MD ordered by sale number, which is not the order of the keys."""
    chunks = tuple(_write_chunk(make_private(folder), number, first, rows) for number, first in _chunks(rows))
    manifest = ExtractManifest(
        table=LINE.name,
        key=MONTH,
        generation=generation,
        source_id="bench",
        target_id="bench",
        scn=1,
        mode="full",
        spec_hash="bench",
        rows=rows,
        control_totals=ControlTotals(rows=rows),
        chunks=chunks,
        started_utc=utc_now(),
        sealed_utc=utc_now(),
    )
    write_manifest(folder, manifest)


def _chunks(rows: int) -> Iterator[tuple[int, int]]:
    return enumerate(range(0, rows, _CHUNK_ROWS), start=1)


def _write_chunk(folder: Path, number: int, first: int, rows: int) -> FileEntry:
    path, schema = folder / f"chunk-{number:05d}.parquet", arrow_schema(LINE)
    end = min(first + _CHUNK_ROWS, rows)
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
        for start in range(first, end, _GROUP_ROWS):
            batch = _rows(start, min(start + _GROUP_ROWS, end)).select(
                _line_value(column, position).alias(column.name) for position, column in enumerate(LINE.columns)
            )
            writer.write_table(batch.to_arrow().cast(schema))
    path.chmod(0o600)
    return describe_file(path, rows=end - first)


def _line_value(column: Column, position: int) -> pl.Expr:
    """Three lines per sale; amounts below 100,000; a fifth of the amount columns partly NULL."""
    sale = _ROW // 3
    key = {
        "CON_CODE": pl.lit("01"),
        "SHOP_CODE": pl.format("SHOP{}", sale * 31 % 90 + 10),
        "BRANCH_CODE": pl.format("BR-{}", sale * 17 % 900 + 100),
        "POS_NO": pl.format("E0512{}", sale * 13 % 9_000 + 1_000),
        "SALE_NO": pl.format("S2405{}", (sale * 48_271 % 100_000_007).cast(pl.String).str.zfill(9)),
        "SALE_DATE": pl.format(f"{MONTH}-{{}}", _two_digits(sale * 7 % 28 + 1)),
        "SEQ": (_ROW % 3 + 1).cast(pl.Decimal(38, 10)),
        "PROD_SERV_CODE": pl.format("8850{}", _mixed(position) + 1_000_000),
    }
    if column.name in key:
        return key[column.name]
    if column.type and column.type.kind is FieldKind.DATETIME:
        return pl.datetime(2024, 5, 1, time_unit="us") + pl.duration(seconds=_mixed(position))
    amount = _money(position, 2).cast(pl.Decimal(38, 10))
    if column.type and column.type.precision < 18:
        amount = (_mixed(position) % 100).cast(pl.Decimal(38, 10))
    return _sparse(amount, position, 6) if position % 5 == 0 else amount


def _rows(first: int, end: int) -> pl.DataFrame:
    return pl.int_range(first, end, dtype=pl.Int64, eager=True).alias("row").to_frame()


def _mixed(salt: int) -> pl.Expr:
    """A pseudo-random number of the row, below about a million."""
    return (_ROW * 2_654_435_761 + salt * 40_503) % 1_000_003


def _sparse(value: pl.Expr, salt: int, tenths: int) -> pl.Expr:
    """The value in `tenths` tenths of the rows, NULL in the others."""
    return pl.when(_mixed(salt + 50) % 10 < tenths).then(value)


def _coded(prefix: str, salt: int) -> pl.Expr:
    return pl.format(f"{prefix}-{{}}", _mixed(salt))


def _one_of(words: tuple[str, ...], salt: int) -> pl.Expr:
    """One of the words followed by a number, so that rows rarely repeat."""
    word = (_mixed(salt) % len(words)).replace_strict(list(range(len(words))), list(words), return_dtype=pl.String)
    return pl.format("{} {}", word, _mixed(salt + 20))


def _two_digits(number: pl.Expr) -> pl.Expr:
    return number.cast(pl.String).str.zfill(2)


def _day() -> pl.Expr:
    return pl.format(f"{MONTH}-{{}}", _two_digits(_mixed(9) % 28 + 1))


def _money(salt: int, scale: int) -> pl.Expr:
    units = _mixed(salt) * 97 % 10_000_000
    return units.cast(pl.Decimal(18, scale)) / pl.lit(10**scale, dtype=pl.Decimal(18, scale))
