"""One checkpoint run: validate the comparisons of a partition against its table's expectations."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own

from expectations.demands import CHECKSUMS, demands
from expectations.equality import COLUMNS, frame_row
from expectations.files import Project
from expectations.open_project import open_project
from expectations.run_record import RunRecord
from kpc.catalog.table import Table
from kpc.errors import CatalogError
from kpc.reconcile.comparison import Comparison

_RUN_FOLDER_LENGTH = 100
_CHECKPOINT_LOCK = threading.Lock()  # a process shares its checkpoints, and each run writes its description into one


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
    wanted, skipped = _demands_of_run(table, comparisons, record.by_records if record else ())
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


Demand = tuple[int, str, str]


def _demands_of_run(
    table: Table, comparisons: Sequence[Comparison], by_records: Collection[str]
) -> tuple[tuple[Demand, ...], list[str]]:
    """What the run must meet, as (level, measure, tolerance), and the measures that it did not compare.

    Level 3 without a comparison is left out, so that it cannot count as passed; the same
    holds for the columns `by_records`, which Salesforce gives rounded or not at all. A comparison that the catalog does
    not require is still checked, with zero tolerance.
    """
    given = {(c.level, c.measure): c for c in comparisons}
    asked = [_widened(demand, given, by_records) for demand in demands(table)]
    skipped = [
        measure
        for level, measure, _ in asked
        if (level, measure) not in given and (level == 3 or _column(measure) in by_records)
    ]
    wanted = [demand for demand in asked if demand[1] not in skipped]
    known = {(level, measure) for level, measure, _ in asked}
    wanted += [(level, measure, "0") for level, measure in given if (level, measure) not in known]
    return tuple(wanted), skipped


def _widened(demand: Demand, given: Mapping[tuple[int, str], Comparison], by_records: Collection[str]) -> Demand:
    """For a column in `by_records`, the comparison's own tolerance applies, if level 3 compared records."""
    level, measure, tolerance = demand
    compared = given.get((level, measure))
    if level != 2 or compared is None or _column(measure) not in by_records or (3, CHECKSUMS) not in given:
        return demand
    return level, measure, format(max(compared.tolerance, Decimal(tolerance)), "f")


def _column(measure: str) -> str:
    return measure.split(" ", 1)[0]


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
