"""Oracle's opinions of a partition, from the sealed extract or from a query, kept by bucket."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import BUCKETS
from kpc.reconcile.second_opinion.digest_layout import hashed_columns
from kpc.reconcile.second_opinion.row_sql import DIGEST_BYTES, OPINION
from kpc.reconcile.second_opinion.rules import ACCEPTED
from kpc.reconcile.second_opinion.target_text import sha256
from kpc.reconcile.second_opinion.text_sql import WHITE_SPACE
from kpc.storage.row_buckets import RowBuckets

KEY, RULE, DIGEST, HASHES, IS_ALTERED = "key_digest", "rule", "row_digest", "hashes", "is_altered"
_NO_TEXT = bytes(DIGEST_BYTES)


def columns_with_opinions(table: Table) -> list[str]:
    """What is read of the extract: the opinion, and the texts that are hashed with the key."""
    return [OPINION, *(column.name for column in hashed_columns(table))]


class Opinions:
    """One line per row with an opinion: key digest, the rule it breaks (0: none), and the digest of the row.

    `hashes` are the hashed fields as Salesforce must hold them, joined by a comma, computed here from the extract's
    text and the campaign's key; `is_altered` is true if that text is not the one over which Oracle computed its digest.
    """

    def __init__(self, table: Table, folder: Path, hash_key: bytes) -> None:
        self._table = table
        self._hash_key = hash_key
        schema: dict[str, pl.DataType] = {
            KEY: pl.Binary(),
            RULE: pl.UInt8(),
            DIGEST: pl.Binary(),
            HASHES: pl.String(),
            IS_ALTERED: pl.Boolean(),
        }
        self._rows = RowBuckets(folder, schema, first_byte(KEY), BUCKETS, held_rows=200_000)

    @property
    def rows(self) -> int:
        return self._rows.rows

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows with the columns of `columns_with_opinions`; rows without an opinion are left out."""
        opined = rows.filter(pl.col(OPINION).is_not_null())
        if opined.is_empty():
            return
        opinion = pl.col(OPINION)
        rule = opinion.bin.slice(DIGEST_BYTES, 1).bin.encode("hex").str.to_integer(base=16)
        parts = opined.select(
            opinion.bin.slice(0, DIGEST_BYTES).alias(KEY),
            rule.cast(pl.UInt8).alias(RULE),
            opinion.bin.slice(DIGEST_BYTES + 1, DIGEST_BYTES).alias(DIGEST),
        )
        self._rows.add(parts.with_columns(*self._hashes(opined)))

    def add_all(self, frames: Iterable[pl.DataFrame]) -> None:
        for frame in frames:
            self.add(frame)

    def bucket(self, number: int) -> pl.DataFrame:
        return self._rows.bucket(number)

    def _hashes(self, opined: pl.DataFrame) -> Sequence[pl.Series]:
        columns = hashed_columns(self._table)
        names = [column.name for column in columns]
        if not columns:
            return pl.Series(HASHES, [""] * opined.height), pl.Series(IS_ALTERED, [False] * opined.height)
        hashes, altered = [], []
        for opinion, *values in opined.select(OPINION, *names).iter_rows():
            texts = [_normal(value) for value in values]
            hashes.append(joined_hashes(self._hashed(text) for text in texts))
            altered.append(opinion[DIGEST_BYTES] == ACCEPTED and _digests_of(opinion) != list(map(_digest, texts)))
        return pl.Series(HASHES, hashes, pl.String), pl.Series(IS_ALTERED, altered, pl.Boolean)

    def _hashed(self, text: str | None) -> str | None:
        return None if text is None else hmac.new(self._hash_key, text.encode(), hashlib.sha256).hexdigest()


def joined_hashes(hashes: Iterable[str | None]) -> str:
    """The hashed fields of a record as one text."""
    return ",".join(each or "" for each in hashes)


def first_byte(column: str) -> pl.Expr:
    """The bucket of a row by the digest of its external id."""
    return pl.col(column).bin.slice(0, 1).bin.encode("hex").str.to_integer(base=16).cast(pl.UInt32)


def _digests_of(opinion: bytes) -> list[bytes]:
    """The digests of the hashed columns."""
    first = 2 * DIGEST_BYTES + 1
    return [opinion[at : at + DIGEST_BYTES] for at in range(first, len(opinion), DIGEST_BYTES)]


def _digest(text: str | None) -> bytes:
    return _NO_TEXT if text is None else sha256(text)


def _normal(value: str | None) -> str | None:
    """The text that is hashed, by docs/values.md."""
    return None if value is None else re.sub("\r\n?", "\n", value.strip(WHITE_SPACE)) or None
