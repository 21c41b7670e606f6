"""The pages of the Data Docs: the data passed to the templates in `docs/`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from expectations import wording
from expectations.campaign_facts import CampaignFacts
from expectations.charts import charts_of
from expectations.overview import Line, Totals, needing_review, phases_of
from expectations.preflight_page import KeptChecks
from expectations.results import ExpectationResult, State, ValidationRun, Verdict
from expectations.standing import Standing
from expectations.summary import OverviewSummary
from kpc.campaign.system_check import CheckState
from kpc.ledger.states import FailureClass

_DOCS = Path(__file__).with_name("docs")
PREFLIGHT = "preflight.html"
ASSETS = ("style.css", "overview.js")


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


def run_page(run: ValidationRun, runs: Sequence[OverviewSummary], standing: Standing | None = None) -> str:
    """The page of a partition's run. `runs` are all runs of the partition, newest first."""
    return render(
        "run.html.j2",
        run_path(run.path),
        run=run,
        measures=_measures(run.of_level(2)),
        history=runs,
        newest=runs[0],
        standing=standing or Standing(),
        commands=list(_commands(run)),
    )


def _commands(run: ValidationRun) -> Iterator[str]:
    """The commands to run next, in order."""
    partition = f"{run.table} {run.key}"
    if run.state is State.MISMATCH:
        yield f"kpc reconcile {partition} --level3 full"
        yield f"kpc show {partition}"
        if run.record.keys_file:
            yield f"kpc rerun {partition} --only-keys {run.record.keys_file}"
        else:
            yield f"kpc rerun {partition} --mode full"
    elif run.state is State.SAMPLED:
        yield f"kpc reconcile {partition} --level3 full"
    else:
        yield from _repairs(run)
        yield f"kpc reconcile {partition}"
        yield f"kpc rerun {partition}"


def _repairs(run: ValidationRun) -> Iterator[str]:
    """What repairs exceptions: only refused rows can be sent again; rejected ones are corrected in Oracle."""
    if run.state is not State.EXCEPTIONS:
        return
    kinds = {cause.kind for cause in run.record.causes}
    yield f"kpc failed {run.table} {run.key}"
    if kinds & {FailureClass.TRANSIENT, FailureClass.DEPENDENCY, FailureClass.ORG, FailureClass.UNPROCESSED}:
        yield f"kpc failed {run.table} {run.key} --retry"
    if FailureClass.DATA in kinds:
        yield f"kpc failed {run.table} {run.key} --export refused.csv"


def restricted_link(place: str) -> Markup:
    """The path of a file outside of the site, as a link if it is a path on this machine."""
    if "://" in place:
        return Markup("<code>{}</code>").format(place)
    address = Path(place).absolute().as_uri()
    return Markup('<a class="restricted" rel="noreferrer" href="{}"><code>{}</code></a>').format(address, place)


def index_page(
    lines: Sequence[Line],
    campaign: CampaignFacts | None,
    unreadable: Sequence[str],
    *,
    has_preflight: bool = False,
    reports: Sequence[str] = (),
) -> str:
    """The overview page."""
    return render(
        "index.html.j2",
        "index.html",
        totals=Totals.of(lines),
        phases=phases_of(lines),
        campaign=campaign,
        charts=charts_of(campaign.timeline) if campaign and campaign.timeline else [],
        attention=needing_review(lines),
        unreadable=unreadable,
        preflight=PREFLIGHT if has_preflight else "",
        reports=reports,
        built=max((line.newest.run_utc for line in lines if line.newest), default=None),
    )


def preflight_page(kept: KeptChecks) -> str:
    """The page of the newest preflight."""
    return render(
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
    return render(
        "suite.html.j2",
        suite_path(name),
        name=name,
        meta=suite.get("meta", {}),
        levels=[(n, [e for e in expected if e["level"] == n]) for n in (1, 2, 3)],
        count=len(expected),
    )


def _measures(checks: Sequence[ExpectationResult]) -> list[tuple[str, list[ExpectationResult]]]:
    groups: dict[str, list[ExpectationResult]] = {}
    for check in checks:
        groups.setdefault(check.subject, []).append(check)
    return list(groups.items())


def run_path(path: str) -> str:
    """The path of a stored result's page in the site, as Great Expectations defines it."""
    return f"validations/{path}.html"


def style() -> Markup:
    """The style of every page, for a page that includes it inline."""
    return Markup((_DOCS / "style.css").read_text(encoding="utf-8"))  # noqa: S704  our own file


def report_path(name: str) -> str:
    """The path of a sign-off report's copy in the site."""
    return f"reports/{name}"


def suite_path(name: str) -> str:
    return f"expectations/{name}.html"


def render(template: str, path: str, **context: Any) -> str:
    """A template of `docs/` as the page at `path` of the site."""
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
        "ticked": wording.ticked,
    }
    environment.globals |= {
        "State": State,
        "Verdict": Verdict,
        "cut": wording.cut_figure,
        "differing": wording.differing_figure,
        "percent": wording.percent,
        "run_path": run_path,
        "suite_path": suite_path,
        "report_path": report_path,
        "restricted": restricted_link,
    }
    return environment
