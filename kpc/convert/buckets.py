"""Buckets: how a partition's records are divided, so that Salesforce can find a part of them by an index.

`Migration_Partition__c` holds partition and bucket: `2024-01/000` to `2024-01/255` for a table with months, `ALL/000`
for the others. The bucket is the first byte of SHA-256 over the UTF-8 bytes of the external id: it never changes, and
anyone can compute it, Oracle included. A month may have millions of records, more than an index of a text field serves;
one of its buckets has few enough (`kpc.salesforce.selectivity`).
"""

from __future__ import annotations

import polars as pl
import polars_hash as plh

from kpc.catalog.types import ALL, BUCKETS, EXTERNAL_ID

BUCKET = "bucket"
_HEXADECIMAL = [f"{number:02x}" for number in range(BUCKETS)]


def bucket_count(key: str) -> int:
    """How many buckets a partition with this key has."""
    return 1 if key == ALL else BUCKETS


def marker(key: str, number: int) -> str:
    """The value of `Migration_Partition__c` for a bucket of a partition: `2024-01/007`."""
    return f"{key}/{number:03d}"


def marker_bucket(key: str, value: str) -> int | None:
    """The bucket that a marker of this partition names; None if it is no such marker."""
    number = value.removeprefix(f"{key}/")
    is_ours = value.startswith(f"{key}/") and len(number) == len("000") and number.isascii() and number.isdigit()
    return int(number) if is_ours and int(number) < bucket_count(key) else None


def markers(key: str) -> tuple[str, ...]:
    """The markers of all buckets of a partition, ascending."""
    return tuple(marker(key, number) for number in range(bucket_count(key)))


def bucket_number(key: str, identifier: str = EXTERNAL_ID) -> pl.Expr:
    """The bucket of each row of a partition, as UInt8; `identifier` names the column of external ids."""
    if bucket_count(key) == 1:
        return pl.lit(0, pl.UInt8).alias(BUCKET)
    return _first_byte(identifier).str.to_integer(base=16, strict=False).cast(pl.UInt8).alias(BUCKET)


def marker_cell(key: str, identifier: str = EXTERNAL_ID) -> pl.Expr:
    """The marker of each row of a partition, as text; null where the row has no external id."""
    if bucket_count(key) == 1:
        return pl.lit(marker(key, 0))
    return _first_byte(identifier).replace_strict(_HEXADECIMAL, list(markers(key)), return_dtype=pl.String)


def _first_byte(identifier: str) -> pl.Expr:
    digest = plh.CryptographicHashingNameSpace(pl.col(identifier)).sha2_256()
    return digest.str.head(2)
