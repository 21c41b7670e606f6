"""The manifests that one stage passes to the next. A manifest is written last, so a folder with one is complete.

oracle_extract -> ExtractManifest -> staged_csv -> StagedManifest -> sf_loaded -> LoadManifest -> reconciled
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from kpc.storage.store import FileEntry


@dataclass(frozen=True, slots=True)
class StageOutput:
    """The output of a stage, before it is timed and recorded. `rows` and `bytes` as the stage counts them.

    `detail` holds the stage's own counts (such as staged, unchanged, rejected), never a value of a row. `files` are
    reports that the audit log shall vouch for, beside the stage's manifests.
    """

    generation: str
    rows: int
    bytes: int
    state: str = "done"
    mapping_version: str | None = None
    detail: dict[str, int | str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()


class RootMarker(BaseModel):
    """The file `root-<token>.json` in the staging root: a worker that finds it sees the same root as the others."""

    model_config = ConfigDict(frozen=True)

    claimed_utc: datetime | None = None


class _Manifest(BaseModel):
    """The partition and generation of a manifest; `generation` is a ULID."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    key: str
    generation: str


class Aggregate(BaseModel):
    """Sum, minimum, maximum and non-null count of one column's values as the target will hold them.

    `sum`, `min` and `max` are None where every value is NULL (and NULL stays NULL).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str  # Oracle's name
    sum: Decimal | None
    min: Decimal | None
    max: Decimal | None
    count: int = Field(ge=0)


class NumberTotal(BaseModel):
    """What Oracle counted in a NUMBER column: values that are rounded when they are read, and unreadable ones.

    `sum` and `count` are of the readable values below 10^18; both are None for a measure, which has its `Aggregate`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    sum: Decimal | None = None
    count: int | None = None
    rounded: int = Field(0, ge=0)
    unreadable: int = Field(0, ge=0)


class ControlTotals(BaseModel):
    """The partition's row count and aggregates; Oracle's own are as of the generation's SCN."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(ge=0)
    measures: tuple[Aggregate, ...] = ()
    numbers: tuple[NumberTotal, ...] = ()

    def numbers_of(self, column: str) -> tuple[NumberTotal, ...]:
        """The column's entry, if there is one."""
        return tuple(number for number in self.numbers if number.column == column)

    @property
    def rounded(self) -> int:
        """How many values Oracle rounded when they were read."""
        return sum(number.rounded for number in self.numbers)


class RelativeScn(BaseModel):
    """A parent or child partition with the same key whose extract is of another SCN than this one's.

    A row written together with its parent between the two SCNs is in only one of the extracts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    relation: Literal["parent", "child"]
    table: str
    scn: int

    def compared_with(self, scn: int) -> str:
        """For example `parent KPS_T_SALES_M at the older SCN 1`."""
        return f"{self.relation} {self.table} at the {'older' if self.scn < scn else 'newer'} SCN {self.scn}"


class ExtractManifest(_Manifest):
    """The sealed Parquet copy of a whole partition as of one SCN.

    With a `base`, an older generation, only the `read_rows` rows changed since `since` were read from Oracle.
    `relatives` are those that had another SCN when this extract was sealed.
    """

    source_id: str
    target_id: str
    scn: int
    mode: Literal["full", "incremental"]
    spec_hash: str
    rows: int = Field(ge=0)
    control_totals: ControlTotals = Field(
        validation_alias=AliasChoices("control_totals", "truth")
    )  # older files: truth
    chunks: tuple[FileEntry, ...]
    started_utc: datetime
    sealed_utc: datetime
    base: str | None = None
    since: datetime | None = None
    read_rows: int = Field(0, ge=0)
    relatives: tuple[RelativeScn, ...] = ()
    opinion_buckets: tuple[int, ...] = ()  # those of which each row has Oracle's opinion of what Salesforce must hold

    def output(self) -> StageOutput:
        """What the stage run records."""
        detail: dict[str, int | str] = {"scn": self.scn, "chunks": len(self.chunks), "mode": self.mode}
        if self.base is not None:
            detail |= {"read_rows": self.read_rows, "since": str(self.since), "base": self.base}
        if self.relatives:
            detail["other_scns"] = ", ".join(one.compared_with(self.scn) for one in self.relatives)
        return StageOutput(self.generation, self.rows, sum(chunk.bytes for chunk in self.chunks), detail=detail)


class OpinionManifest(_Manifest):
    """What Oracle said of an extract's rows when it was asked later, as of the extract's SCN: those of `buckets`."""

    scn: int
    buckets: tuple[int, ...]
    rows: int = Field(ge=0)
    chunks: tuple[FileEntry, ...]
    asked_utc: datetime
    asked_by: str


class StagedManifest(_Manifest):
    """The gzip CSV chunks of a partition, and the number of extracted rows by outcome.

    `truncated` and `rounded` count values, not rows. `vanished` counts keys of the loaded index that the source no
    longer has; they are listed in `vanished_file`.
    """

    mapping_version: str
    extracted: int = Field(ge=0)
    staged: int = Field(ge=0)
    unchanged: int = Field(ge=0)
    rejected: int = Field(ge=0)
    truncated: int = Field(ge=0)
    header: tuple[str, ...]
    chunks: tuple[FileEntry, ...]
    rejected_file: FileEntry | None
    index_file: FileEntry
    fingerprint_file: FileEntry
    started_utc: datetime
    finished_utc: datetime
    vanished: int = Field(0, ge=0)
    vanished_file: FileEntry | None = None
    rounded: int = Field(0, ge=0)

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """Every file of the folder except the manifest itself."""
        more = (self.index_file, self.fingerprint_file, self.rejected_file, self.vanished_file)
        return (*self.chunks, *(entry for entry in more if entry is not None))

    def output(self) -> StageOutput:
        """What the stage run records."""
        counts = ("extracted", "staged", "unchanged", "rejected", "truncated", "rounded", "vanished")
        return StageOutput(
            self.generation,
            rows=self.staged,
            bytes=sum(chunk.bytes for chunk in self.chunks),
            mapping_version=self.mapping_version,
            detail={**{name: getattr(self, name) for name in counts}, "chunks": len(self.chunks)},
        )

    @model_validator(mode="after")
    def _every_row_is_accounted_for(self) -> StagedManifest:
        if self.extracted != self.staged + self.unchanged + self.rejected:
            raise ValueError(
                f"extracted {self.extracted} != staged {self.staged} + unchanged {self.unchanged} "
                f"+ rejected {self.rejected}"
            )
        if sum(chunk.rows for chunk in self.chunks) != self.staged:
            raise ValueError(f"the chunks hold {sum(chunk.rows for chunk in self.chunks)} rows, not {self.staged}")
        return self


class CleanedManifest(_Manifest):
    """The chunks that were archived (to `place`) or deleted after reconciliation."""

    mapping_version: str
    policy: Literal["archive", "delete"]
    place: str | None
    chunks: tuple[FileEntry, ...]
    actor: str
    cleaned_utc: datetime


class PurgedFile(BaseModel):
    """The tombstone of a file; `path` is below the staging root."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    rows: int
    bytes: int
    sha256: str


class RowChecksums(BaseModel):
    """What outlives a purged extract: bucket, key hash and checksum of each expected record.

    `counts` are their numbers by bucket, `totals` the control totals where they are not Oracle's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: FileEntry
    counts: tuple[int, ...]
    totals: ControlTotals | None
    corrected: int


class PurgedManifest(_Manifest):
    """The files of one kind that were removed from a generation, and why."""

    kind: str
    reason: str
    actor: str
    purged_utc: datetime
    files: tuple[PurgedFile, ...]
    checksums: RowChecksums | None = None
    corrected: tuple[int, ...] = ()  # hashes of the corrections that counted


class LoadManifest(_Manifest):
    """The rows of a partition's chunks that Salesforce confirmed; `jobs` are ingest job ids.

    `pre_image` counts the records whose former values were saved.
    """

    mapping_version: str
    attempt: int = Field(ge=1)
    staged: int = Field(ge=0)
    loaded: int = Field(ge=0)
    created: int = Field(ge=0)
    failed: int = Field(ge=0)
    unprocessed: int = Field(ge=0)
    jobs: tuple[str, ...]
    files: tuple[FileEntry, ...]
    started_utc: datetime
    finished_utc: datetime
    pre_image: int = Field(0, ge=0)

    def output(self) -> StageOutput:
        """What the stage run records."""
        counts = ("staged", "loaded", "created", "failed", "unprocessed")
        return StageOutput(
            self.generation,
            rows=self.loaded,
            bytes=sum(entry.bytes for entry in self.files),
            mapping_version=self.mapping_version,
            detail={
                **{name: getattr(self, name) for name in counts},
                "jobs": len(self.jobs),
                "attempt": self.attempt,
                **({"pre_image": self.pre_image} if self.pre_image else {}),
            },
        )
