"""The overview's stored summary of each run, so that a rebuild need not reread every result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from expectations.results import LEVELS, State, ValidationRun, Verdict


@dataclass(frozen=True, slots=True)
class OverviewSummary:
    """The summary of one run. Row counts are integers; None if the run did not provide one.

    `proven` of `sampled` records had equal checksums (level 3); `numbers` were compared, `failed` of them differ.
    """

    path: str
    table: str
    target: str
    phase: str
    key: str
    run_name: str
    run_utc: datetime
    state: State
    levels: tuple[Verdict, ...]
    source_rows: int | None
    excepted_rows: int | None
    target_rows: int | None
    difference: int | None
    sampled: int
    proven: int
    numbers: int
    failed: int

    @property
    def partition(self) -> tuple[str, str]:
        return self.table, self.key

    @property
    def anchor(self) -> str:
        return f"{self.table}-{self.key}"

    @property
    def has_full_level3(self) -> bool:
        """Whether every record in Salesforce was compared, not a sample."""
        return self.sampled > 0 and self.sampled >= (self.target_rows or 0)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"run_utc": self.run_utc.isoformat()}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> OverviewSummary:
        """The summary. Raises `TypeError`, `KeyError` or `ValueError` for one written by another version."""
        if stored.keys() != {field.name for field in fields(cls)}:
            raise KeyError("another version's summary")
        return cls(
            **stored
            | {
                "run_utc": datetime.fromisoformat(stored["run_utc"]),
                "state": State(stored["state"]),
                "levels": tuple(Verdict(verdict) for verdict in stored["levels"]),
            }
        )


def summarize(run: ValidationRun) -> OverviewSummary:
    rows, checksums = run.rows, run.checksums

    def whole(value: object) -> int | None:
        return None if value is None else int(value)  # type: ignore[call-overload]  # a Decimal count

    return OverviewSummary(
        path=run.path,
        table=run.table,
        target=run.target,
        phase=run.phase,
        key=run.key,
        run_name=run.run_name,
        run_utc=run.run_utc,
        state=run.state,
        levels=tuple(run.verdict(level) for level in LEVELS),
        source_rows=whole(rows.source) if rows else None,
        excepted_rows=whole(rows.excepted) if rows else None,
        target_rows=whole(rows.target) if rows else None,
        difference=whole(rows.difference) if rows else None,
        sampled=(whole(checksums.expected) if checksums else None) or 0,
        proven=(whole(checksums.target) if checksums else None) or 0,
        numbers=len(run.checks),
        failed=len(run.failures),
    )


def by_partition(summaries: Iterable[OverviewSummary]) -> dict[tuple[str, str], list[OverviewSummary]]:
    """The runs of each partition, newest first."""
    runs: dict[tuple[str, str], list[OverviewSummary]] = {}
    for summary in sorted(summaries, key=lambda s: (s.run_utc, s.path), reverse=True):
        runs.setdefault(summary.partition, []).append(summary)
    return runs
