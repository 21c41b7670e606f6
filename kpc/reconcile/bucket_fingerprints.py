"""Fingerprints of a partition's buckets on both sides: what a certificate holds as evidence for every record.

The fingerprint of a bucket is the number of its records, and the sum (modulo 2^64) and XOR of their row checksums,
which cover the external id and every field. Two sets of records with the same fingerprint are the same set, except for
collisions of the 64-bit checksums. The bucket of a record in Salesforce is the one that its marker names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from kpc.convert.buckets import BUCKET
from kpc.convert.canonical import CHECKSUM

_MODULUS = 1 << 64


@dataclass(frozen=True, slots=True)
class BucketFingerprint:
    """`rows` records of one bucket; `sum` and `xor` of their checksums. `bucket` is None if the marker names none."""

    bucket: int | None
    rows: int
    sum: int
    xor: int

    def with_added(self, other: BucketFingerprint) -> BucketFingerprint:
        """The fingerprint of this set together with another one of the same bucket."""
        return BucketFingerprint(
            self.bucket, self.rows + other.rows, (self.sum + other.sum) % _MODULUS, self.xor ^ other.xor
        )


@dataclass
class Fingerprints:
    """The fingerprints of one side, added up over any number of frames with columns bucket and checksum."""

    _by_bucket: dict[int | None, BucketFingerprint] = field(default_factory=dict)

    @classmethod
    def of(cls, buckets: Iterable[BucketFingerprint]) -> Fingerprints:
        """The inverse of `listed`."""
        return cls({one.bucket: one for one in buckets})

    def merge(self, other: Iterable[BucketFingerprint]) -> None:
        """Add other records of any buckets."""
        for one in other:
            known = self._by_bucket.get(one.bucket)
            self._by_bucket[one.bucket] = one if known is None else known.with_added(one)

    def add(self, rows: pl.DataFrame) -> None:
        """Count the rows of a frame; each record is counted once."""
        # Sums of 64-bit numbers wrap around in polars, which gives the sum modulo 2^64.
        found = rows.group_by(BUCKET).agg(
            pl.len().alias("rows"), pl.col(CHECKSUM).sum().alias("sum"), pl.col(CHECKSUM).bitwise_xor().alias("xor")
        )
        self.merge(
            BucketFingerprint(bucket, count, int(total or 0), int(mixed or 0))
            for bucket, count, total, mixed in found.iter_rows()
        )

    @property
    def by_bucket(self) -> Mapping[int | None, BucketFingerprint]:
        return self._by_bucket

    def listed(self) -> tuple[BucketFingerprint, ...]:
        """The fingerprints in the order of the buckets; records without a bucket come last."""
        return tuple(sorted(self._by_bucket.values(), key=lambda one: (one.bucket is None, one.bucket or 0)))
