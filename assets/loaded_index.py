"""loaded_index.parquet: what Salesforce has confirmed of a partition, by which the next staging sends only the rest."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from kpc.catalog.table import EXTERNAL_ID
from kpc.convert.canonical import CHECKSUM, KEY_HASH
from kpc.store import atomic_path

_COLUMNS = (KEY_HASH, CHECKSUM, "salesforce_id", "external_id")


def update_loaded_index(path: Path, staged_index: Path, success_file: Path) -> int:
    """Put the confirmed rows of a load in place of what the index said of their keys; returns the rows of the index.

    `staged_index` holds external_id, key_hash and checksum of every row that was sent, `success_file` sf__Id by
    external id. Rows not in this load keep what an earlier one confirmed. Doing it twice changes nothing.
    """
    confirmed = pl.read_csv(success_file, columns=[EXTERNAL_ID, "sf__Id"], infer_schema=False).select(
        pl.col(EXTERNAL_ID).str.to_lowercase().alias("key"), pl.col("sf__Id").alias("salesforce_id")
    )
    fresh = (
        pl.read_parquet(staged_index, columns=["external_id", KEY_HASH, CHECKSUM])
        .with_columns(pl.col("external_id").str.to_lowercase().alias("key"))
        .join(confirmed.unique("key"), on="key", how="inner")
        .select(_COLUMNS)
    )
    if path.is_file():
        kept = pl.read_parquet(path, columns=list(_COLUMNS)).join(fresh, on=KEY_HASH, how="anti")
        fresh = pl.concat([kept.select(_COLUMNS), fresh])
    with atomic_path(path) as temporary:
        fresh.sort(KEY_HASH).write_parquet(temporary)
    return fresh.height
