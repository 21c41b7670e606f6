"""Build the Data Docs incrementally from stored results, replacing each page atomically.

Great Expectations' own builder rereads every result for each new one, and its pages need a network because they load
their styles from a CDN. This builder keeps one summary per result (`Project.site_state`), renders the new results and
their predecessors, and writes the overview last, so that every link on it works.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expectations import pages
from expectations.campaign_facts import CampaignFacts, kept_campaign
from expectations.files import Project, exclusive, write_atomically, write_if_different
from expectations.overview import lines_of
from expectations.preflight_page import kept_checks
from expectations.results import ValidationRun, read_run
from expectations.standing import Standing, standing_of
from expectations.summary import OverviewSummary, by_partition, summarize

_RESULT_SUFFIX = ".json"


@dataclass
class _State:
    """The previous build: by result path its stamp (size and modification time) and summary, and digests.

    `suites`: digests of the suites' files; `standings`: digests of what was known about each newest result.
    """

    stamps: dict[str, str] = field(default_factory=dict)
    summaries: dict[str, OverviewSummary] = field(default_factory=dict)
    suites: dict[str, str] = field(default_factory=dict)
    standings: dict[str, str] = field(default_factory=dict)


def build(root: Path) -> Path:
    """See `expectations.build_data_docs`."""
    project = Project(root)
    with exclusive(project.site_state.with_suffix(".lock")):
        # Without an overview, the previous site was removed or never completed: build all pages.
        state = _load(project) if (project.site / "index.html").exists() else _State()
        _build_assets(project)
        campaign, kept = kept_campaign(project), kept_checks(project)
        unreadable = _build_runs(project, state, campaign)
        _build_suites(project, state)
        index = project.site / "index.html"
        if kept is not None:
            write_if_different(project.site / pages.PREFLIGHT, pages.preflight_page(kept))
        lines = lines_of(by_partition(state.summaries.values()).values(), campaign)
        reports = _build_reports(project)
        content = pages.index_page(lines, campaign, unreadable, has_preflight=kept is not None, reports=reports)
        write_if_different(index, content)
        _save(project, state)
    return index


def _build_runs(project: Project, state: _State, campaign: CampaignFacts | None) -> list[str]:
    """Render new and changed results, drop removed ones; returns the results that could not be read."""
    found = dict(_results(project.validations))
    stale = _forget(state, found)
    fresh: dict[str, ValidationRun] = {}
    unreadable = []
    for path in found.keys() - state.summaries.keys():
        try:
            fresh[path] = _stored_run(project, path)
        except (ValueError, ArithmeticError, KeyError, TypeError, StopIteration, AttributeError, OSError):
            unreadable.append(path + _RESULT_SUFFIX)  # shown on the overview, and retried by the next build
            continue
        state.summaries[path], state.stamps[path] = summarize(fresh[path]), found[path]
    runs = by_partition(state.summaries.values())
    standings = {
        line.newest.path: standing_of(line, campaign) for line in lines_of(runs.values(), campaign) if line.newest
    }
    shrunk = {summary.partition for summary in stale}
    for mine in runs.values():
        for summary in _to_render(mine, state, fresh, shrunk, standings[mine[0].path]):
            run = fresh.get(summary.path) or _stored_run(project, summary.path)
            page = pages.run_page(run, mine, standings.get(summary.path))
            write_atomically(project.site / pages.run_path(summary.path), page)
    for summary in stale:
        if summary.path not in fresh:
            (project.site / pages.run_path(summary.path)).unlink(missing_ok=True)
    state.standings = {path: standing.digest for path, standing in standings.items()}
    return sorted(unreadable)


def _forget(state: _State, found: dict[str, str]) -> list[OverviewSummary]:
    """Drop and return the summaries whose result has been removed or changed."""
    changed = [path for path in state.summaries if state.stamps.get(path) != found.get(path)]
    for path in changed:
        state.stamps.pop(path, None)
    return [state.summaries.pop(path) for path in changed]


def _to_render(
    runs: Sequence[OverviewSummary],
    state: _State,
    fresh: Collection[str],
    shrunk: Collection[tuple[str, str]],
    standing: Standing,
) -> Iterator[OverviewSummary]:
    """The runs of a partition to render, newest first: the new ones, and the one that the oldest of them supersedes.

    Also the newest one, if what is known about it has changed. If a run was removed, all runs, because they link to
    each other.
    """
    superseded = 1 + max((i for i, summary in enumerate(runs) if summary.path in fresh), default=-2)
    has_changed = state.standings.get(runs[0].path) != standing.digest
    for i, summary in enumerate(runs):
        is_touched = summary.path in fresh or i == superseded or summary.partition in shrunk
        if is_touched or (i == 0 and has_changed):
            yield summary


def result_file(project: Project, path: str) -> Path:
    """The file of a stored result, by the path that its summary names."""
    return project.validations / (path + _RESULT_SUFFIX)


def _stored_run(project: Project, path: str) -> ValidationRun:
    return read_run(json.loads(result_file(project, path).read_bytes()), path)


def runs_of_site(project: Project) -> list[list[OverviewSummary]]:
    """The runs of each partition, newest first, as the newest build found them."""
    return list(by_partition(_load(project).summaries.values()).values())


def _build_reports(project: Project) -> list[str]:
    """Copy the sign-off reports into the site; returns their names, newest first."""
    names = sorted((file.name for file in project.reports.glob("*.html")), reverse=True)
    for name in names:
        target = project.site / pages.report_path(name)
        if not target.exists():
            write_atomically(target, (project.reports / name).read_bytes())
    return names


def _build_suites(project: Project, state: _State) -> None:
    for file in sorted(project.suites.glob("*.json")):
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if state.suites.get(file.stem) != digest:
            write_atomically(project.site / pages.suite_path(file.stem), pages.suite_page(json.loads(content)))
            state.suites[file.stem] = digest


def _build_assets(project: Project) -> None:
    for path, content in pages.assets().items():
        with suppress(FileNotFoundError):
            if (project.site / path).read_bytes() == content:
                continue
        write_atomically(project.site / path, content)


def _results(folder: Path, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path without suffix, stamp) of each stored result."""
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _results(Path(entry.path), f"{prefix}{entry.name}/")
        elif entry.name.endswith(_RESULT_SUFFIX):
            status = entry.stat()
            yield prefix + entry.name.removesuffix(_RESULT_SUFFIX), f"{status.st_size} {status.st_mtime_ns}"


def _load(project: Project) -> _State:
    """The previous build's state; empty if another version wrote it or it cannot be read."""
    try:
        stored: dict[str, Any] = json.loads(project.site_state.read_bytes())
        if stored["version"] == pages.version():
            summaries = {path: OverviewSummary.from_json(summary) for path, summary in stored["summaries"].items()}
            return _State(stored["stamps"], summaries, stored["suites"], stored["standings"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return _State()


def _save(project: Project, state: _State) -> None:
    content = {
        "version": pages.version(),
        "stamps": state.stamps,
        "summaries": {path: summary.as_json() for path, summary in state.summaries.items()},
        "suites": state.suites,
        "standings": state.standings,
    }
    write_atomically(project.site_state, json.dumps(content, ensure_ascii=False))
