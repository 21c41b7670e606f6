"""How a partition's numbers were produced: its stages and people, its jobs, its exceptions by cause, its files.

It is kept with each result, so that a page shows the facts of its own run. It contains no keys or values of rows:
those are in files below the staging root, of which only the path is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class StageFacts:
    """One run of a stage; `finished_utc`, `rows` and `bytes` are None while it runs."""

    stage: str
    state: str
    actor: str
    run_id: str
    started_utc: datetime
    finished_utc: datetime | None
    rows: int | None
    bytes: int | None

    @property
    def seconds(self) -> float | None:
        return None if self.finished_utc is None else (self.finished_utc - self.started_utc).total_seconds()

    @property
    def rows_per_s(self) -> int | None:
        return int(self.rows / self.seconds) if self.rows and self.seconds else None


@dataclass(frozen=True, slots=True)
class JobFacts:
    """One ingest job; `job_id` is Salesforce's."""

    job_id: str
    purpose: str
    state: str
    rows: int
    processed: int | None


@dataclass(frozen=True, slots=True)
class ExceptionCause:
    """How many rows were rejected or refused for one reason."""

    kind: str
    code: str
    rows: int


@dataclass(frozen=True, slots=True)
class DifferenceCount:
    """How many records differ for one cause."""

    cause: str
    records: int


@dataclass(frozen=True, slots=True)
class RestrictedFile:
    """A file with keys or values of rows, for people who may read the staging root."""

    content: str
    place: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is kept about one reconciliation besides its numbers. Empty for a result of an older version.

    `verdict` is the reconciliation's; a page shows it, or a worse one if the numbers say so. `scn_utc` is when Oracle
    was asked for the SCN; with `is_scn_time_exact` false, when the extract began to read. `by_records` are the measured
    columns whose sums Salesforce gives rounded, or in another currency: level 3 verifies them. `keys_file`,
    quoted for a shell, lists the records that are repaired by sending them again.
    """

    verdict: str = ""
    by_records: tuple[str, ...] = ()
    tool_version: str = ""
    mapping_version: str = ""
    scn_utc: datetime | None = None
    is_scn_time_exact: bool = False
    stages: tuple[StageFacts, ...] = ()
    jobs: tuple[JobFacts, ...] = ()
    causes: tuple[ExceptionCause, ...] = ()
    files: tuple[RestrictedFile, ...] = ()
    differences: tuple[DifferenceCount, ...] = ()
    keys_file: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data; times in ISO format."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RunRecord:
        """The record. Raises `TypeError`, `KeyError` or `ValueError` for what `as_json` did not write."""
        return cls(
            **{**stored, "scn_utc": _moment(stored.get("scn_utc"))}
            | {
                "by_records": tuple(stored.get("by_records", ())),
                "stages": tuple(StageFacts(**_with_moments(one)) for one in stored.get("stages", ())),
                "jobs": tuple(JobFacts(**one) for one in stored.get("jobs", ())),
                "causes": tuple(ExceptionCause(**one) for one in stored.get("causes", ())),
                "differences": tuple(DifferenceCount(**one) for one in stored.get("differences", ())),
                "files": tuple(RestrictedFile(**one) for one in stored.get("files", ())),
            }
        )


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _with_moments(stage: Mapping[str, Any]) -> dict[str, Any]:
    return {**stage, **{name: _moment(stage[name]) for name in ("started_utc", "finished_utc")}}


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
