"""The pages of the Data Docs: the data passed to the templates in `docs/`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from expectations import wording
from expectations.preflight_page import KeptChecks
from expectations.results import ExpectationResult, State, ValidationRun, Verdict
from expectations.summary import OverviewSummary
from kpc.campaign.system_check import CheckState
from kpc.catalog import TABLES, Phase

_DOCS = Path(__file__).with_name("docs")
PREFLIGHT = "preflight.html"
ASSETS = ("style.css", "overview.js")
_HISTORY_LENGTH = 25
_MONTHS_IN_A_LINE = 4


@cache
def version() -> str:
    """A digest of code and templates, which changes whenever pages could be rendered differently."""
    digest = hashlib.sha256()
    sources = [*_DOCS.iterdir(), *Path(__file__).parent.glob("*.py")]
    for file in sorted(path for path in sources if path.is_file()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def assets() -> dict[str, bytes]:
    """The files shared by all pages, by their path in the site."""
    return {f"static/{name}": (_DOCS / name).read_bytes() for name in ASSETS}


def run_page(run: ValidationRun, runs: Sequence[OverviewSummary]) -> str:
    """The page of a partition's run. `runs` are all runs of the partition, newest first."""
    return _render(
        "run.html.j2",
        run_path(run.path),
        run=run,
        measures=_measures(run.of_level(2)),
        history=runs[:_HISTORY_LENGTH],
        older=max(0, len(runs) - _HISTORY_LENGTH),
        newest=runs[0],
    )


def index_page(
    partitions: Iterable[Sequence[OverviewSummary]], unreadable: Sequence[str], *, has_preflight: bool = False
) -> str:
    """The overview page. `partitions` are the runs of each partition, newest first."""
    lines = [Line(runs[0], len(runs)) for runs in partitions]
    phases = _phases(lines)
    return _render(
        "index.html.j2",
        "index.html",
        totals=Totals.of([line.newest for line in lines]),
        phases=phases,
        unreadable=unreadable,
        preflight=PREFLIGHT if has_preflight else "",
        built=max((line.newest.run_utc for line in lines), default=None),
    )


def preflight_page(kept: KeptChecks) -> str:
    """The page of the newest preflight."""
    return _render(
        "preflight.html.j2",
        PREFLIGHT,
        kept=kept,
        failed=kept.of_state(CheckState.FAILED),
        warnings=kept.of_state(CheckState.WARNING),
    )


def suite_page(suite: Mapping[str, Any]) -> str:
    """The page of a table's expectations, from its stored suite."""
    name = suite["name"]
    expected = [e["kwargs"] | {"text": e.get("description", "")} for e in suite["expectations"]]
    return _render(
        "suite.html.j2",
        suite_path(name),
        name=name,
        meta=suite.get("meta", {}),
        levels=[(n, [e for e in expected if e["level"] == n]) for n in (1, 2, 3)],
        count=len(expected),
    )


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the overview: a partition's newest run, and how many runs it has."""

    newest: OverviewSummary
    runs: int


@dataclass(frozen=True, slots=True)
class TableGroup:
    """A table of the overview; without partitions until one has been reconciled."""

    name: str
    target: str
    lines: tuple[Line, ...]

    @property
    def years(self) -> list[tuple[str, list[Line]]]:
        """The months by year, if there are too many for the line of the table's name; otherwise empty."""
        if len(self.lines) <= _MONTHS_IN_A_LINE:
            return []
        return [(year, list(lines)) for year, lines in groupby(self.lines, key=lambda line: line.newest.key[:4])]


@dataclass(frozen=True, slots=True)
class PhaseGroup:
    name: str
    tables: tuple[TableGroup, ...]

    @property
    def totals(self) -> Totals:
        return Totals.of([line.newest for table in self.tables for line in table.lines])


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the newest run of each partition."""

    partitions: int
    states: Mapping[State, int]
    source_rows: int
    excepted_rows: int
    target_rows: int
    proven: int
    numbers: int

    @classmethod
    def of(cls, newest: Sequence[OverviewSummary]) -> Totals:
        return cls(
            partitions=len(newest),
            states={state: sum(s.state is state for s in newest) for state in State},
            source_rows=sum(s.source_rows or 0 for s in newest),
            excepted_rows=sum(s.excepted_rows or 0 for s in newest),
            target_rows=sum(s.target_rows or 0 for s in newest),
            proven=sum(s.proven for s in newest),
            numbers=sum(s.numbers for s in newest),
        )


def _phases(lines: Sequence[Line]) -> list[PhaseGroup]:
    """The catalog's tables in load order, each with its partitions; tables no longer in the catalog come last."""
    known = [TableGroup(t.name, t.target, _of_table(t.name, lines)) for t in TABLES.values()]
    phases = [PhaseGroup(phase.value, tuple(g for g in known if TABLES[g.name].phase is phase)) for phase in Phase]
    unknown = sorted({line.newest.table for line in lines} - TABLES.keys())
    if unknown:
        found = [(name, _of_table(name, lines)) for name in unknown]
        groups = tuple(TableGroup(name, mine[0].newest.target, mine) for name, mine in found)
        phases.append(PhaseGroup("no longer in the catalog", groups))
    return phases


def _of_table(name: str, lines: Sequence[Line]) -> tuple[Line, ...]:
    return tuple(sorted((line for line in lines if line.newest.table == name), key=lambda line: line.newest.key))


def _measures(checks: Sequence[ExpectationResult]) -> list[tuple[str, list[ExpectationResult]]]:
    groups: dict[str, list[ExpectationResult]] = {}
    for check in checks:
        groups.setdefault(check.subject, []).append(check)
    return list(groups.items())


def run_path(path: str) -> str:
    """The path of a stored result's page in the site, as Great Expectations defines it."""
    return f"validations/{path}.html"


def suite_path(name: str) -> str:
    return f"expectations/{name}.html"


def _render(template: str, path: str, **context: Any) -> str:
    up = "../" * path.count("/")
    return (
        _environment()
        .get_template(template)
        .render(context | {"up": up, "path": path, "link": lambda to: up + quote(to), "version": version()[:8]})
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_DOCS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "figure": wording.figure,
        "short": wording.short_figure,
        "signed": wording.signed_figure,
        "moment": wording.moment,
        "plural": wording.plural,
    }
    environment.globals |= {
        "State": State,
        "Verdict": Verdict,
        "cut": wording.cut_figure,
        "differing": wording.differing_figure,
        "percent": wording.percent,
        "run_path": run_path,
        "suite_path": suite_path,
    }
    return environment
