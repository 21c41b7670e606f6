"""One checkpoint run: validate the comparisons of a partition against its table's expectations."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own

from expectations.equality import COLUMNS, frame_row
from expectations.files import Project
from expectations.open_project import open_project
from expectations.run_record import RunRecord
from expectations.suites import demands
from kpc.catalog.table import Table
from kpc.errors import CatalogError
from kpc.reconcile.comparison import Comparison

_RUN_FOLDER_LENGTH = 100
_CHECKPOINT_LOCK = threading.Lock()  # the checkpoints of a process are shared, and each run describes itself in one


def validate(
    table: Table,
    key: str,
    comparisons: Sequence[Comparison],
    *,
    run_name: str,
    root: Path,
    facts: Mapping[str, str],
    record: RunRecord | None,
    clock: Callable[[], datetime],
) -> bool:
    """See `expectations.validate`."""
    _check_once(table, comparisons)
    wanted, skipped = _demands_of_run(table, comparisons)
    about = {
        "table": table.name,
        "target": table.target,
        "phase": table.phase.value,
        "key": key,
        "run_name": run_name,
        "facts": [list(fact) for fact in facts.items()],  # Great Expectations sorts mappings
        "skipped": skipped,
        "record": record.as_json() if record else {},
    }
    frame = pd.DataFrame([frame_row(c) for c in comparisons], columns=list(COLUMNS), dtype=object)
    run_id = gx.RunIdentifier(run_name=run_folder(run_name), run_time=clock())
    with _CHECKPOINT_LOCK:
        checkpoint = open_project(Project(root), table).checkpoint(table, wanted)
        return _run(checkpoint, frame, run_id, about)


def _run(checkpoint: gx.Checkpoint, frame: pd.DataFrame, run_id: gx.RunIdentifier, about: dict[str, Any]) -> bool:
    """Run the checkpoint; the run's description is kept in the meta of the first expectation's result."""
    first = checkpoint.validation_definitions[0].suite.expectations[0]
    first.meta = {"run": about}
    try:
        return bool(checkpoint.run(batch_parameters={"dataframe": frame}, run_id=run_id).success)
    finally:
        first.meta = None


def _demands_of_run(
    table: Table, comparisons: Sequence[Comparison]
) -> tuple[tuple[tuple[int, str, str], ...], list[str]]:
    """What the run must meet, as (level, measure, tolerance), and the measures of level 3 that it did not compare.

    Level 3 without a comparison is left out, so that it cannot count as passed. A comparison that the catalog does not
    require is still checked, with zero tolerance.
    """
    given = {(c.level, c.measure) for c in comparisons}
    asked = list(demands(table))
    skipped = [measure for level, measure, _ in asked if level == 3 and (level, measure) not in given]
    wanted = [demand for demand in asked if not (demand[0] == 3 and demand[1] in skipped)]
    known = {(level, measure) for level, measure, _ in asked}
    wanted += [(c.level, c.measure, "0") for c in comparisons if (c.level, c.measure) not in known]
    return tuple(wanted), skipped


def _check_once(table: Table, comparisons: Sequence[Comparison]) -> None:
    twice = [measure for (_, measure), n in Counter((c.level, c.measure) for c in comparisons).items() if n > 1]
    if twice:
        raise CatalogError(
            f"Table {table.name}: {', '.join(twice)} was compared more than once in one run.",
            "Pass one comparison for each number.",
        )


def stored_results(root: Path, run_name: str) -> list[Path]:
    """See `expectations.stored_results`."""
    return sorted(Project(root).validations.glob(f"*/{run_folder(run_name)}/*/*.json"))


def run_folder(run_name: str) -> str:
    """The run's name as a folder name: Airflow's run ids contain colons and plus signs and up to 250 characters."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", run_name)[:_RUN_FOLDER_LENGTH].strip(".-")
    if safe == run_name:
        return safe
    return f"{safe}-{hashlib.sha256(run_name.encode()).hexdigest()[:8]}"
