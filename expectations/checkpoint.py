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
from expectations.project import open_context, write_project
from expectations.suites import demands, expectation, suite_for
from kpc.catalog.table import Table
from kpc.errors import CatalogError
from kpc.reconcile.comparison import Comparison

_RUN_FOLDER_LENGTH = 100
_CHECKPOINT_LOCK = threading.Lock()  # Great Expectations keeps the current context in a module global


def validate(
    table: Table,
    key: str,
    comparisons: Sequence[Comparison],
    *,
    run_name: str,
    root: Path,
    facts: Mapping[str, str],
    clock: Callable[[], datetime],
) -> bool:
    """See `expectations.validate`."""
    _check_once(table, comparisons)
    project = Project(root)
    write_project(project, suite_for(table))
    about = {
        "table": table.name,
        "target": table.target,
        "phase": table.phase.value,
        "key": key,
        "run_name": run_name,
        "facts": [list(fact) for fact in facts.items()],  # Great Expectations sorts mappings
    }
    suite = _suite_of_run(table, comparisons, about)
    frame = pd.DataFrame([frame_row(c) for c in comparisons], columns=list(COLUMNS))
    run_id = gx.RunIdentifier(run_name=run_folder(run_name), run_time=clock())
    with _CHECKPOINT_LOCK:
        checkpoint = _checkpoint(open_context(project), suite, key)
        return bool(checkpoint.run(batch_parameters={"dataframe": frame}, run_id=run_id).success)


def _checkpoint(context: Any, suite: gx.ExpectationSuite, key: str) -> gx.Checkpoint:
    """The checkpoint on an in-memory frame; the batch and the result's file are named after the partition."""
    asset = context.data_sources.add_pandas("reconciliation").add_dataframe_asset(f"{suite.name}-{key}")
    batch = asset.add_batch_definition_whole_dataframe("comparisons")
    suite = context.suites.add(suite)
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=suite.name, data=batch, suite=suite))
    checkpoint: gx.Checkpoint = context.checkpoints.add(
        gx.Checkpoint(name=suite.name, validation_definitions=[definition])
    )
    return checkpoint


def _suite_of_run(table: Table, comparisons: Sequence[Comparison], about: dict[str, Any]) -> gx.ExpectationSuite:
    """The table's suite, limited to what this run compared.

    Level 3 without a comparison is left out, so that it cannot count as passed. A comparison that the catalog does not
    require is still checked, with zero tolerance. The first expectation's meta holds the run's description.
    """
    given = {(c.level, c.measure) for c in comparisons}
    asked = {(level, measure): tolerance for level, measure, tolerance in demands(table)}
    skipped = [demand for demand in asked if demand[0] == 3 and demand not in given]
    wanted = [demand for demand in asked if demand not in skipped]
    wanted += [(c.level, c.measure) for c in comparisons if (c.level, c.measure) not in asked]
    suite = suite_for(table)
    suite.expectations = [expectation(table, *demand, asked.get(demand, "0")) for demand in wanted]
    suite.expectations[0].meta = {"run": about | {"skipped": [measure for _, measure in skipped]}}
    return suite


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
