"""The overview: every partition of the plan with its newest result, grouped by phase and table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from expectations.campaign_facts import CampaignFacts, PartitionFacts, Reached
from expectations.results import State
from expectations.summary import OverviewSummary
from kpc.catalog import TABLES, Phase

_MONTHS_IN_A_LINE = 4
_STEPS = {
    Reached.PLANNED: "not yet extracted",
    Reached.LOADED: "loaded, not yet compared",
    Reached.COMPARED: "compared, but its result is missing here",
}
_REVIEW = (State.MISMATCH, State.OUTDATED, State.SAMPLED)


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the overview: a partition with its newest result, if there is one, and its progress, if known."""

    table: str
    key: str
    newest: OverviewSummary | None
    runs: int = 0
    facts: PartitionFacts | None = None
    is_outdated: bool = False

    @property
    def state(self) -> State:
        if self.newest is None:
            return State.WAITING
        return State.OUTDATED if self.is_outdated else self.newest.state

    @property
    def step(self) -> str:
        """The progress of a partition without a current result."""
        if self.facts is None:
            return ""
        done = _STEPS.get(self.facts.reached, self.facts.reached.value)
        return f"{done}; {self.facts.trouble}" if self.facts.trouble else done

    @property
    def why(self) -> str:
        """Why a person must check it; empty if nobody has to."""
        if self.newest is None:
            return "was compared, but its result is missing here" if self.facts and self.facts.verdict else ""
        reasons = {
            State.MISMATCH: f"differs in {self.newest.failed} of {self.newest.numbers} numbers",
            State.OUTDATED: "was extracted or loaded again since it was compared",
            State.SAMPLED: "was compared only in a sample",
        }
        return reasons.get(self.state, "")

    @property
    def anchor(self) -> str:
        return f"{self.table}-{self.key}"


@dataclass(frozen=True, slots=True)
class TableGroup:
    """A table of the overview; without partitions until one is planned or has been reconciled."""

    name: str
    target: str
    lines: tuple[Line, ...]

    @property
    def has_results(self) -> bool:
        return any(line.newest for line in self.lines)

    @property
    def years(self) -> list[tuple[str, list[Line]]]:
        """The months by year, if there are too many to fit beside the table's name; otherwise empty."""
        if len(self.lines) <= _MONTHS_IN_A_LINE:
            return []
        return [(year, list(lines)) for year, lines in groupby(self.lines, key=lambda line: line.key[:4])]


@dataclass(frozen=True, slots=True)
class PhaseGroup:
    name: str
    tables: tuple[TableGroup, ...]

    @property
    def totals(self) -> Totals:
        return Totals.of([line for table in self.tables for line in table.lines])


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the newest result of each partition; those that no longer apply are left out."""

    partitions: int
    states: Mapping[State, int]
    source_rows: int
    excepted_rows: int
    target_rows: int
    proven: int
    records_compared: int
    numbers: int

    @property
    def reconciled(self) -> int:
        """Reconciled partitions, with and without exceptions."""
        return self.states[State.RECONCILED] + self.states[State.EXCEPTIONS]

    @property
    def compared(self) -> int:
        """Partitions with a current result."""
        return self.partitions - self.states[State.WAITING] - self.states[State.OUTDATED]

    @classmethod
    def of(cls, lines: Sequence[Line]) -> Totals:
        newest = [line.newest for line in lines if line.newest and not line.is_outdated]
        return cls(
            partitions=len(lines),
            states={state: sum(line.state is state for line in lines) for state in State},
            source_rows=sum(s.source_rows or 0 for s in newest),
            excepted_rows=sum(s.excepted_rows or 0 for s in newest),
            target_rows=sum(s.target_rows or 0 for s in newest),
            proven=sum(s.proven for s in newest),
            records_compared=sum(s.sampled for s in newest),
            numbers=sum(s.numbers for s in newest),
        )


def lines_of(partitions: Iterable[Sequence[OverviewSummary]], campaign: CampaignFacts | None) -> list[Line]:
    """A line for each partition that is planned or has results; `partitions` are each one's runs, newest first."""
    known = campaign.by_partition() if campaign else {}
    lines = {}
    for runs in partitions:
        newest, facts = runs[0], known.get(runs[0].partition)
        is_outdated = bool(campaign and facts and campaign.read_utc >= newest.run_utc and not facts.verdict)
        lines[newest.partition] = Line(*newest.partition, newest, len(runs), facts, is_outdated)
    return [*lines.values(), *(Line(*name, None, 0, facts) for name, facts in known.items() if name not in lines)]


def needing_review(lines: Sequence[Line]) -> list[Line]:
    """The partitions that a person must check, mismatches first."""
    found = [line for line in lines if line.why]
    return sorted(found, key=lambda line: _REVIEW.index(line.state) if line.state in _REVIEW else -1)


def phases_of(lines: Sequence[Line]) -> list[PhaseGroup]:
    """The catalog's tables in load order, each with its partitions; tables no longer in the catalog come last."""
    by_table: dict[str, list[Line]] = {}
    for line in sorted(lines, key=lambda line: line.key):
        by_table.setdefault(line.table, []).append(line)
    known = [TableGroup(t.name, t.target, tuple(by_table.get(t.name, ()))) for t in TABLES.values()]
    phases = [PhaseGroup(phase.value, tuple(g for g in known if TABLES[g.name].phase is phase)) for phase in Phase]
    unknown = sorted(by_table.keys() - TABLES.keys())
    if unknown:
        groups = (TableGroup(name, _target(by_table[name]), tuple(by_table[name])) for name in unknown)
        phases.append(PhaseGroup("no longer in the catalog", tuple(groups)))
    return phases


def _target(lines: Sequence[Line]) -> str:
    return next((line.newest.target for line in lines if line.newest), "")
