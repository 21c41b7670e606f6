"""Read stored validation results of a partition. They are plain JSON, so Great Expectations is not imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from expectations.demands import CHECKSUMS
from expectations.run_record import RunRecord
from kpc.reconcile.comparison import EXACT

LEVELS = (1, 2, 3)


class State(StrEnum):
    """The state of a partition after a run, with the ledger's values; the last two are states of the overview only."""

    MISMATCH = "mismatch"
    SAMPLED = "sampled"
    EXCEPTIONS = "reconciled_with_exceptions"
    RECONCILED = "reconciled"
    OUTDATED = "outdated"  # extracted or loaded again since the newest result
    WAITING = "waiting"  # no result yet

    @property
    def label(self) -> str:
        return self.value.replace("_", " ")


class Verdict(StrEnum):
    """The result of one check, or of all checks of a level."""

    PASS = "pass"  # noqa: S105  a verdict, not a password
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class ExpectationResult:
    """One expectation's result. If there are no figures, `note` says why."""

    level: int
    measure: str
    passed: bool
    source: Decimal | None = None
    excepted: Decimal | None = None
    target: Decimal | None = None
    difference: Decimal | None = None
    tolerance: Decimal | None = None
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        return Verdict.PASS if self.passed else Verdict.FAIL

    @property
    def expected(self) -> Decimal | None:
        """The value that Salesforce must hold."""
        return None if self.source is None else EXACT.subtract(self.source, self.excepted or Decimal(0))

    @property
    def subject(self) -> str:
        """The column of a level 2 check: `AMT_INC_VAT` of `AMT_INC_VAT sum`."""
        return self.measure.split(" ", 1)[0]

    @property
    def aspect(self) -> str:
        return self.measure.split(" ", 1)[-1]


@dataclass(frozen=True, slots=True)
class ValidationRun:
    """One stored result: a partition's reconciliation in one run. `path` is relative to the results, without suffix."""

    path: str
    table: str
    target: str
    phase: str
    key: str
    run_name: str
    run_utc: datetime
    library: str
    checks: tuple[ExpectationResult, ...]
    skipped: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    success: bool
    record: RunRecord = field(default_factory=RunRecord)

    @property
    def state(self) -> State:
        """The reconciliation's state, if the numbers agree with it; otherwise the state that follows from them."""
        if not self.success or self.record.verdict == State.MISMATCH:
            return State.MISMATCH
        if not self.compares_every_record or self.record.verdict == State.SAMPLED:
            return State.SAMPLED
        is_excepted = any(check.excepted for check in self.checks) or self.record.verdict == State.EXCEPTIONS
        return State.EXCEPTIONS if is_excepted else State.RECONCILED

    def of_level(self, level: int) -> tuple[ExpectationResult, ...]:
        return tuple(check for check in self.checks if check.level == level)

    def verdict(self, level: int) -> Verdict:
        checks = self.of_level(level)
        if not checks:
            return Verdict.SKIPPED
        return Verdict.PASS if all(check.passed for check in checks) else Verdict.FAIL

    @property
    def failures(self) -> tuple[ExpectationResult, ...]:
        """The failed checks, most informative first: averages and counts follow from rows and sums."""
        failed = [check for check in self.checks if not check.passed]
        return tuple(
            sorted(failed, key=lambda check: (check.level == 2, check.aspect in ("average", "non-null count")))
        )

    @property
    def rows(self) -> ExpectationResult | None:
        """The level 1 check."""
        return next(iter(self.of_level(1)), None)

    @property
    def checksums(self) -> ExpectationResult | None:
        """The level 3 check: `source` is the number of records compared, `target` of those that equal Oracle's rows."""
        return next((check for check in self.of_level(3) if check.measure == CHECKSUMS), None)

    @property
    def compares_every_record(self) -> bool:
        """Whether level 3 compared all records in Salesforce, not a sample."""
        rows, checksums = self.rows, self.checksums
        held = rows.target if rows else None
        compared = checksums.source if checksums else None
        return held is not None and compared is not None and compared >= held


def read_run(stored: Mapping[str, Any], path: str) -> ValidationRun:
    """The run in a stored result. Raises `ValueError`, `KeyError` or `TypeError` if it is not a valid one."""
    results = stored["results"]
    about = next(found for found in (r["expectation_config"].get("meta", {}).get("run") for r in results) if found)
    return ValidationRun(
        path=path,
        table=about["table"],
        target=about["target"],
        phase=about["phase"],
        key=about["key"],
        run_name=about["run_name"],
        run_utc=datetime.fromisoformat(stored["meta"]["run_id"]["run_time"]),
        library=stored["meta"]["great_expectations_version"],
        checks=tuple(_check(result) for result in results),
        skipped=tuple(about["skipped"]),
        record=RunRecord.from_json(about.get("record") or {}),
        facts=tuple((name, value) for name, value in about["facts"]),
        success=bool(stored["success"]),
    )


def _check(result: dict[str, Any]) -> ExpectationResult:
    kwargs = result["expectation_config"]["kwargs"]
    outcome = result["result"]
    details = outcome.get("details")
    known = {name: Decimal(text) if text is not None else None for name, text in (details or {}).items()}
    note = ""
    if details is None:
        note = outcome.get("observed_value") or result["exception_info"].get("exception_message") or "not evaluated"
    return ExpectationResult(kwargs["level"], kwargs["measure"], bool(result["success"]), note=note, **known)
