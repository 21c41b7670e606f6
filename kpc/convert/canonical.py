"""The canonical text of a row, the same for Oracle and Salesforce, its checksum, and a partition's fingerprint.

docs/checksums.md specifies all three so that anyone can recompute them.
"""

from __future__ import annotations

import polars as pl
import polars_hash as plh

from kpc.catalog.table import Table
from kpc.catalog.types import CURRENCY_FIELD, EXTERNAL_ID, Column, FieldKind
from kpc.convert import numbers, text
from kpc.convert.external_id import folded
from kpc.errors import SchemaDrift

SEPARATOR = "\x1f"  # between values
NULL = "\x1e"  # stands for a null; neither can occur in a value (rule control_character)
_FINGERPRINT_BITS = 10  # a fingerprint's bucket is the first ten bits of the key hash, not the marker's bucket
FINGERPRINT_BUCKETS = 1 << _FINGERPRINT_BITS

KEY_HASH, CHECKSUM = "key_hash", "checksum"


def canonical_text(table: Table) -> pl.Expr:
    """The row's canonical text: the values of `table.data_header` in order, without the two markers."""
    return pl.concat_str([pl.col(name).fill_null(NULL) for name in table.data_header], separator=SEPARATOR)


def row_checksum(table: Table) -> pl.Expr:
    """XXH3 (64 bit, seed 0) of the canonical text's UTF-8 bytes, as UInt64."""
    return plh.NonCryptographicHashingNameSpace(canonical_text(table)).xxh3_64().alias(CHECKSUM)


def row_evidence(table: Table) -> pl.Expr:
    """SHA-256 of the canonical text, hexadecimal: for audits that require a cryptographic proof."""
    return plh.CryptographicHashingNameSpace(canonical_text(table)).sha2_256()


def key_hash(identifier: pl.Expr | None = None) -> pl.Expr:
    """XXH3 (64 bit) of the external id in lower case, as UInt64: equal for ids that Salesforce treats as equal."""
    made = pl.col(EXTERNAL_ID) if identifier is None else identifier
    return plh.NonCryptographicHashingNameSpace(folded(made)).xxh3_64().alias(KEY_HASH)


def fingerprint(rows: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """A summary of a set of rows that does not depend on their order.

    Takes columns key_hash and checksum. Returns one row per non-empty bucket, ascending: bucket (UInt16, 0 to 1023),
    rows (UInt32), sum (UInt64, modulo 2^64), xor (UInt64).
    """
    return (
        rows.lazy()
        .group_by((pl.col(KEY_HASH) // 2 ** (64 - _FINGERPRINT_BITS)).cast(pl.UInt16).alias("bucket"))
        .agg(
            pl.len().cast(pl.UInt32).alias("rows"),
            pl.col(CHECKSUM).sum().alias("sum"),
            pl.col(CHECKSUM).bitwise_xor().alias("xor"),
        )
        .sort("bucket")
        .collect()
    )


FINGERPRINT_SCHEMA: dict[str, pl.DataType] = {
    "bucket": pl.UInt16(),
    "rows": pl.UInt32(),
    "sum": pl.UInt64(),
    "xor": pl.UInt64(),
}


def merged(fingerprints: list[pl.DataFrame]) -> pl.DataFrame:
    """The combined fingerprint of several disjoint sets of rows."""
    return (
        pl.concat(fingerprints)
        .group_by("bucket")
        .agg(pl.col("rows").sum(), pl.col("sum").sum(), pl.col("xor").bitwise_xor())
        .sort("bucket")
    )


def canonical_from_salesforce(frame: pl.DataFrame | pl.LazyFrame, table: Table) -> pl.LazyFrame:
    """Bulk-query text (all String, columns named as in `table.data_header`) in canonical form.

    A value that is not of its field's type, or has more digits than the field's scale, keeps its text, so that it
    differs from every source value and the comparison reports it. Raises `SchemaDrift` for a missing column.
    """
    rows = frame.lazy()
    given = rows.collect_schema().names()
    missing = tuple(name for name in table.data_header if name not in given)
    if missing:
        raise SchemaDrift(
            f"The query of {table.target} did not return {len(missing)} column(s):",
            "Select every column of the table's data header.",
            differences=missing,
        )
    identifiers = [EXTERNAL_ID, *(lookup.header for lookup in table.lookups)]
    currency = [text.trimmed(pl.col(CURRENCY_FIELD).cast(pl.String))] if table.currency else []
    return rows.select(
        *(text.trimmed(pl.col(name).cast(pl.String)).alias(name) for name in identifiers),
        *(_normalized(column).alias(column.field or "") for column in table.sent_columns),
        *currency,
    )


def _normalized(column: Column) -> pl.Expr:
    given = text.trimmed(pl.col(column.field or "").cast(pl.String))
    match column.type.kind if column.type else None:
        case FieldKind.DOUBLE | FieldKind.CURRENCY:
            return _normalized_number(given, column.type.scale if column.type else 0)
        case FieldKind.DATETIME:
            return _normalized_datetime(given)
        case FieldKind.BOOLEAN:
            return given.str.to_lowercase()
        case _:
            return given


def _normalized_number(given: pl.Expr, scale: int) -> pl.Expr:
    """`1.5`, `1.50` and `15E-1` all become `1.50` at scale 2; text that does not fit the scale is kept."""
    value = given.cast(pl.Decimal(numbers.WIDEST, numbers.READ_SCALE), strict=False)
    fitted = value.round(scale, mode="half_away_from_zero")
    return (
        pl.when(fitted == value).then(fitted.cast(pl.Decimal(numbers.WIDEST, scale)).cast(pl.String)).otherwise(given)
    )


def _normalized_datetime(given: pl.Expr) -> pl.Expr:
    """A UTC time, however its zone and zero milliseconds are written, becomes `2024-05-01T17:00:00.000Z`."""
    local = given.str.replace(r"(?:Z|[+-]00:?00)$", "")
    seconds = local.str.replace(r"\.0+$", "")
    is_utc = given.str.contains(r"(?:Z|[+-]00:?00)$")
    return pl.when(is_utc & (seconds.str.len_bytes() == 19)).then(seconds + ".000Z").otherwise(given)
