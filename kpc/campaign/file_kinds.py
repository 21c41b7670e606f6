"""Every kind of file below the staging root: those that hold rows, which `kpc purge` removes, and those that are kept.

A file that no rule names belongs to the kind of its folder, so that the temporary file of a killed process is purged
together with the files that it was meant to become.
"""

from __future__ import annotations

from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import PurePath

from kpc.settings import RetentionSettings
from kpc.storage.layout import CORRECTED_ROWS, EXTRACT, LOADED_INDEX, PURGED_CORRECTIONS, ROW_CHECKSUMS


class FileKind(StrEnum):
    """What `kpc purge` removes. Each value is also the name of the record of its purge."""

    EXTRACT = EXTRACT
    CHUNKS = "chunks"
    REJECTS = "rejects"
    FAILED_ROWS = "failed-rows"
    PRE_IMAGES = "pre-images"
    ROLLBACK = "rollback"
    COMPARISONS = "comparisons"  # records that a killed comparison had read
    CORRECTIONS = PURGED_CORRECTIONS  # purged after the extract, whose comparison needs them

    @property
    def setting(self) -> str:
        """The name of its retention in `RetentionSettings`."""
        return f"{self.value.replace('-', '_')}_days"

    def days(self, retention: RetentionSettings) -> int:
        days: int = getattr(retention, self.setting)
        return days


class LastingKind(StrEnum):
    """What is kept: it holds no values except of key columns, none of which is personal."""

    INDEXES = "indexes"
    CHECKSUMS = "row checksums"
    MANIFESTS = "manifests"
    REPORTS = "reports and Data Docs"


_BESIDE_GENERATIONS: dict[str, FileKind | LastingKind] = {
    CORRECTED_ROWS: FileKind.CORRECTIONS,
    LOADED_INDEX: LastingKind.INDEXES,
}
# The first match counts; `*` also matches `/`.
_IN_GENERATION: tuple[tuple[str, FileKind | LastingKind], ...] = (
    ("reconciled/progress/*", FileKind.COMPARISONS),
    ("reconciled/query/*", FileKind.COMPARISONS),
    ("reconciled/*", LastingKind.REPORTS),
    (f"purged/{ROW_CHECKSUMS}", LastingKind.CHECKSUMS),
    ("*/.*.json.*.part", LastingKind.MANIFESTS),
    ("*.json", LastingKind.MANIFESTS),
    ("purged/*", FileKind.EXTRACT),  # the data of its checksums
    ("extract/*", FileKind.EXTRACT),
    ("opinions/*", FileKind.EXTRACT),
    ("delta/*", FileKind.EXTRACT),  # rows that Oracle held later, stored beside it
    ("staged-*/*rejected.csv.gz*", FileKind.REJECTS),
    ("staged-*/index.parquet", LastingKind.INDEXES),
    ("staged-*/fingerprint.parquet", LastingKind.INDEXES),
    ("staged-*/vanished.csv.gz", LastingKind.INDEXES),
    ("staged-*/*", FileKind.CHUNKS),
    ("loaded-*/*success.csv.gz", LastingKind.INDEXES),
    ("loaded-*/*", FileKind.FAILED_ROWS),
    ("pre-image-*/foreign-records.parquet*", LastingKind.INDEXES),
    ("pre-image-*/*", FileKind.PRE_IMAGES),
    ("undo/*", FileKind.ROLLBACK),
)


def kind_of(path: PurePath) -> FileKind | LastingKind | None:
    """The kind of a file by its path below a generation's folder, or beside the generations; None: unknown."""
    if len(path.parts) == 1:
        return _BESIDE_GENERATIONS.get(path.name)
    name = path.as_posix()
    for pattern, kind in _IN_GENERATION:
        if fnmatchcase(name, pattern):
            return kind
    return None
