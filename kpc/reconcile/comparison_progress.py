"""Finished buckets of a comparison, kept beside the extract, so that a killed comparison continues where it stopped.

    reconciled/progress/<first marker>.json        counts, fingerprints and aggregates of some buckets; written last
    reconciled/progress/<first marker>.parquet     what differs in them

Only buckets of the same data (`data`, see `ReconciliationReport`), read less than `LONGEST_H` hours ago, are used. They
carry a code (HMAC-SHA256) that only somebody with this worker's secrets can make: files written by others are
skipped, and a worker without secrets keeps none.
"""

from __future__ import annotations

import hashlib
import hmac
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from kpc.convert.canonical import KEY_HASH
from kpc.private_files import make_private
from kpc.reconcile.bucket_fingerprints import BucketFingerprint, Fingerprints
from kpc.reconcile.group_comparison import GroupComparison
from kpc.reconcile.read_totals import ReadBucket, ReadTotals
from kpc.settings import Settings
from kpc.storage.store import atomic_path, sha256_of

FOLDER = "progress"
LONGEST_H = 12
_KIND = "kind"
_KINDS = ("changed", "surplus", "missing")


class _FinishedGroup(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    read_utc: datetime
    markers: tuple[str, ...]
    compared: int
    equal: int
    changed_rows: int
    surplus_rows: int
    source: tuple[BucketFingerprint, ...]
    target: tuple[BucketFingerprint, ...]
    totals: tuple[tuple[int | None, ReadBucket], ...]
    differing_sha256: str
    code: str = ""


class ComparisonProgress:
    """`folder` is the reconciliation's, `data` the fingerprint of what is compared."""

    def __init__(self, folder: Path, data: str, settings: Settings) -> None:
        self._folder = folder / FOLDER
        self._data = data
        self._key = _key(settings)

    def keep(self, markers: tuple[str, ...], found: GroupComparison, read_utc: datetime) -> None:
        """Keep the comparison of the buckets with these markers. Raises `OutOfSpace`."""
        if not self._key:
            return
        stem = markers[0].replace("/", "-")
        with atomic_path(make_private(self._folder) / f"{stem}.parquet") as path:
            _differing(found).write_parquet(path)
            differing_sha256 = sha256_of(path)
        kept = _FinishedGroup(
            data=self._data,
            read_utc=read_utc,
            markers=markers,
            compared=found.compared,
            equal=found.equal,
            changed_rows=found.changed_rows,
            surplus_rows=found.surplus_rows,
            source=found.source.listed(),
            target=found.target.listed(),
            totals=tuple(found.totals.by_bucket.items()),
            differing_sha256=differing_sha256,
        )
        with atomic_path(self._folder / f"{stem}.json") as path:
            path.write_text(kept.model_copy(update={"code": self._code(kept)}).model_dump_json(), encoding="utf-8")

    def finished(self, now: datetime) -> Iterator[tuple[tuple[str, ...], GroupComparison]]:
        """The kept comparisons that can be used again, with their markers; others are skipped."""
        for path in sorted(self._folder.glob("*.json")):
            try:
                kept = _FinishedGroup.model_validate_json(path.read_text(encoding="utf-8"))
                differing = pl.read_parquet(path.with_suffix(".parquet"))
                is_ours = self._is_ours(kept, path.with_suffix(".parquet"))
            except (ValidationError, OSError, pl.exceptions.PolarsError):
                continue
            if is_ours and kept.data == self._data and now - kept.read_utc < timedelta(hours=LONGEST_H):
                yield kept.markers, _restored(kept, differing)

    def _is_ours(self, kept: _FinishedGroup, differing: Path) -> bool:
        if not self._key or sha256_of(differing) != kept.differing_sha256:
            return False
        return hmac.compare_digest(kept.code, self._code(kept))

    def _code(self, kept: _FinishedGroup) -> str:
        content = kept.model_copy(update={"code": ""}).model_dump_json()
        return hmac.new(self._key, content.encode(), hashlib.sha256).hexdigest()

    def remove(self) -> None:
        """Remove the kept comparisons, once the whole comparison is complete."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _key(settings: Settings) -> bytes:
    """A key derived from every secret of this worker; empty if it has none."""
    salesforce, file = settings.salesforce, settings.salesforce.private_key_file
    secrets = (
        settings.hash_key,
        settings.certificate_key,
        salesforce.client_secret,
        salesforce.refresh_token,
        salesforce.access_token,
    )
    known = [secret.get_secret_value().encode() for secret in secrets]
    if file is not None and file.is_file():
        known.append(file.read_bytes())
    return hashlib.sha256(b"comparison progress\0" + b"\0".join(known)).digest() if any(known) else b""


def _differing(found: GroupComparison) -> pl.DataFrame:
    frames = zip(_KINDS, (found.changed, found.surplus, found.missing.to_frame(KEY_HASH)), strict=True)
    return pl.concat([frame.with_columns(pl.lit(kind).alias(_KIND)) for kind, frame in frames], how="diagonal")


def _restored(kept: _FinishedGroup, differing: pl.DataFrame) -> GroupComparison:
    changed, surplus, missing = (differing.filter(pl.col(_KIND) == kind).drop(_KIND) for kind in _KINDS)
    return GroupComparison(
        compared=kept.compared,
        equal=kept.equal,
        missing=missing[KEY_HASH],
        changed=changed,
        surplus=surplus,
        changed_rows=kept.changed_rows,
        surplus_rows=kept.surplus_rows,
        source=Fingerprints.of(kept.source),
        target=Fingerprints.of(kept.target),
        totals=ReadTotals(dict(kept.totals)),
    )
