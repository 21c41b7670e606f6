"""What the pages show besides results: the plan, each partition's progress, sign-offs, objects, the timeline.

Kept as one file, which `kpc docs` and the DAG data_docs replace, so that the pages can be built from stored files
alone. It contains no keys or values of rows, and no text that people typed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from expectations.files import Project, write_if_different

_FILE = "campaign.json"


class Reached(StrEnum):
    """The last stage that a partition's current extract has passed."""

    PLANNED = "planned"
    EXTRACTED = "extracted"
    STAGED = "staged"
    LOADED = "loaded"
    COMPARED = "compared"


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """The progress of a partition. `verdict` is that of its current extract and load; empty if these were not compared.

    `trouble` is the state of the newest stage run, if it did not end well, with that stage. `certificate` is the sha256
    of the current certificate, which is in the restricted `certificate_file`. `weaker_check`: a later check that agreed
    and did not replace the verdict.
    """

    table: str
    key: str
    reached: Reached
    verdict: str
    trouble: str = ""
    certificate: str = ""
    certificate_file: str = ""
    weaker_check: str = ""


@dataclass(frozen=True, slots=True)
class SignOffFacts:
    """A person's decision; what they wrote stays in the ledger.

    `standing`: whether it still counts. `identified`: how the person was known; weaker if not `is_authenticated`.
    """

    subject: str
    decision: str
    actor: str
    signed_utc: datetime
    evidence_sha256: str
    standing: str = ""
    identified: str = ""
    is_authenticated: bool = False
    certificates: int = 0


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """The newest count of a table's whole object."""

    table: str
    records: int
    expected: int
    unknown: int
    checked_utc: datetime


@dataclass(frozen=True, slots=True)
class NewestEntry:
    """The newest entry of the audit log."""

    seq: int
    entry_hash: str
    at_utc: datetime


@dataclass(frozen=True, slots=True)
class StageSeries:
    """What one stage did over time: `rows_per_s` and, at the end of each interval, how many partitions were done."""

    stage: str
    rows_per_s: tuple[float, ...]
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The campaign in intervals of `interval_s` seconds from `start_utc`."""

    start_utc: datetime
    interval_s: int
    planned: int
    stages: tuple[StageSeries, ...]


@dataclass(frozen=True, slots=True)
class CampaignFacts:
    """The campaign as the ledger knew it at `read_utc`."""

    read_utc: datetime
    source_id: str
    target_id: str
    months: tuple[str, ...]
    planned_utc: datetime | None
    planned_by: str
    partitions: tuple[PartitionFacts, ...]
    sign_offs: tuple[SignOffFacts, ...]
    objects: tuple[ObjectFacts, ...]
    audit: NewestEntry | None
    timeline: Timeline | None

    def by_partition(self) -> dict[tuple[str, str], PartitionFacts]:
        return {(one.table, one.key): one for one in self.partitions}


def keep_campaign(project: Project, facts: CampaignFacts) -> None:
    """Replace the facts that the pages show."""
    content = json.dumps(asdict(facts), ensure_ascii=False, default=_text, indent=1)
    write_if_different(_path(project), content)


def kept_campaign(project: Project) -> CampaignFacts | None:
    """The kept facts; None if there are none, or if another version wrote them."""
    try:
        return _parsed(json.loads(_path(project).read_bytes()))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _path(project: Project) -> Any:
    return project.folder / "uncommitted" / _FILE


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def _parsed(stored: Mapping[str, Any]) -> CampaignFacts:
    timeline, audit = stored["timeline"], stored["audit"]
    return CampaignFacts(
        **_with_times(stored, "read_utc", "planned_utc")
        | {
            "months": tuple(stored["months"]),
            "partitions": tuple(
                PartitionFacts(**{**one, "reached": Reached(one["reached"])}) for one in stored["partitions"]
            ),
            "sign_offs": tuple(SignOffFacts(**_with_times(one, "signed_utc")) for one in stored["sign_offs"]),
            "objects": tuple(ObjectFacts(**_with_times(one, "checked_utc")) for one in stored["objects"]),
            "audit": audit and NewestEntry(**_with_times(audit, "at_utc")),
            "timeline": timeline and _timeline(timeline),
        }
    )


def _timeline(stored: Mapping[str, Any]) -> Timeline:
    stages = tuple(
        StageSeries(one["stage"], tuple(one["rows_per_s"]), tuple(one["partitions"])) for one in stored["stages"]
    )
    return Timeline(**_with_times(stored, "start_utc") | {"stages": stages})


def _with_times(stored: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {**stored, **{name: stored[name] and datetime.fromisoformat(stored[name]) for name in names}}
