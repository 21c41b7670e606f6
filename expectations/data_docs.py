"""Build the Data Docs incrementally from stored results, replacing each page atomically.

Great Expectations' own builder rereads every result for each new one, and its pages need a network because they load
their styles from a CDN. This builder keeps one summary per result (`Project.site_state`), renders the new results and
their predecessors, and writes the overview last, so that every link on it works.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expectations import pages
from expectations.files import Project, exclusive, write_atomically, write_if_different
from expectations.preflight_page import kept_checks
from expectations.results import ValidationRun, read_run
from expectations.summary import OverviewSummary, by_partition, summarize

_RESULT_SUFFIX = ".json"


@dataclass
class _State:
    """The previous build: by result path its stamp (size and modification time) and summary, by suite its digest."""

    stamps: dict[str, str] = field(default_factory=dict)
    summaries: dict[str, OverviewSummary] = field(default_factory=dict)
    suites: dict[str, str] = field(default_factory=dict)


def build(root: Path) -> Path:
    """See `expectations.build_data_docs`."""
    project = Project(root)
    with exclusive(project.site_state.with_suffix(".lock")):
        # Without an overview, the previous site was removed or never completed: build all pages.
        state = _load(project) if (project.site / "index.html").exists() else _State()
        _build_assets(project)
        unreadable = _build_runs(project, state)
        _build_suites(project, state)
        index = project.site / "index.html"
        if (kept := kept_checks(project)) is not None:
            write_if_different(project.site / pages.PREFLIGHT, pages.preflight_page(kept))
        partitions = by_partition(state.summaries.values()).values()
        write_if_different(index, pages.index_page(partitions, unreadable, has_preflight=kept is not None))
        _save(project, state)
    return index


def _build_runs(project: Project, state: _State) -> list[str]:
    """Render new and changed results, drop removed ones; returns the results that could not be read."""
    found = dict(_results(project.validations))
    stale = _forget(state, found)
    fresh: dict[str, ValidationRun] = {}
    unreadable = []
    for path in found.keys() - state.summaries.keys():
        try:
            fresh[path] = read_run(_result_file(project, path), path)
        except (ValueError, ArithmeticError, KeyError, TypeError, StopIteration, AttributeError, OSError):
            unreadable.append(path + _RESULT_SUFFIX)  # shown on the overview, and retried by the next build
            continue
        state.summaries[path], state.stamps[path] = summarize(fresh[path]), found[path]
    _render_runs(project, state, fresh, {summary.partition for summary in stale})
    for summary in stale:
        if summary.path not in fresh:
            (project.site / pages.run_path(summary.path)).unlink(missing_ok=True)
    return sorted(unreadable)


def _forget(state: _State, found: dict[str, str]) -> list[OverviewSummary]:
    """Drop and return the summaries whose result has been removed or changed."""
    changed = [path for path in state.summaries if state.stamps.get(path) != found.get(path)]
    for path in changed:
        state.stamps.pop(path, None)
    return [state.summaries.pop(path) for path in changed]


def _render_runs(
    project: Project, state: _State, fresh: dict[str, ValidationRun], shrunk: set[tuple[str, str]]
) -> None:
    """Render the pages of fresh runs, and of the run that the oldest of them supersedes, which must now say so.

    If a run of a partition was removed, all its pages are rendered again, because they link to each other.
    """
    touched = {state.summaries[path].partition for path in fresh} | shrunk
    for partition, runs in by_partition(state.summaries.values()).items():
        if partition not in touched:
            continue
        superseded = 1 + max((i for i, summary in enumerate(runs) if summary.path in fresh), default=-1)
        for i, summary in enumerate(runs):
            if summary.path in fresh or i == superseded or partition in shrunk:
                run = fresh.get(summary.path) or read_run(_result_file(project, summary.path), summary.path)
                write_atomically(project.site / pages.run_path(summary.path), pages.run_page(run, runs))


def _result_file(project: Project, path: str) -> Path:
    return project.validations / (path + _RESULT_SUFFIX)


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
            return _State(stored["stamps"], summaries, stored["suites"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return _State()


def _save(project: Project, state: _State) -> None:
    content = {
        "version": pages.version(),
        "stamps": state.stamps,
        "summaries": {path: summary.as_json() for path, summary in state.summaries.items()},
        "suites": state.suites,
    }
    write_atomically(project.site_state, json.dumps(content, ensure_ascii=False))
