"""A bucket's fingerprint is the same for the same records, however they arrive, and for no others."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from kpc.convert.buckets import BUCKET
from kpc.convert.canonical import CHECKSUM
from kpc.reconcile.bucket_fingerprints import BucketFingerprint, Fingerprints

_ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**64 - 1)), unique_by=lambda row: row[1], max_size=40)


def _fingerprints(*frames: list[tuple[int | None, int]]) -> tuple[BucketFingerprint, ...]:
    found = Fingerprints()
    for rows in frames:
        found.add(pl.DataFrame(rows, schema={BUCKET: pl.UInt8, CHECKSUM: pl.UInt64}, orient="row"))
    return found.listed()


@given(_ROWS, st.integers(0, 40))
def test_order_and_frames_do_not_matter(rows: list[tuple[int | None, int]], cut: int) -> None:
    """Sums of 64 bits wrap around in the same way inside one frame and over several."""
    together = _fingerprints(rows)
    assert _fingerprints(rows[cut:][::-1], rows[:cut]) == together
    assert sum(one.rows for one in together) == len(rows)
    assert sum(one.sum for one in together) % 2**64 == sum(checksum for _, checksum in rows) % 2**64


def test_another_bucket_checksum_or_record_shows() -> None:
    """Exchanged markers, a changed field, a lost and an invented record, and records without a marker."""
    rows: list[tuple[int | None, int]] = [(0, 11), (0, 22), (1, 33)]
    right = _fingerprints(rows)
    for wrong in ([(1, 11), (0, 22), (0, 33)], [(0, 11), (0, 23), (1, 33)], [(0, 11), (1, 33)], [*rows, (1, 44)]):
        assert _fingerprints(wrong) != right
    assert _fingerprints([*rows, (None, 5)])[-1] == BucketFingerprint(None, 1, 5, 5)
