"""Great Expectations by itself opens the project: its definitions, results and pages are the library's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from reconciliation_samples import agreeing, changed, minutes_later

from expectations import build_data_docs, validate
from kpc.catalog import find_table

PAYMENTS = find_table("KPS_T_SALESPAY_MD")
SUPPLIERS = find_table("KPS_R_POS_SUPPLIER")

_OPENED = """
import json, logging, sys
import great_expectations as gx
import pandas
context = gx.get_context(mode="file", project_root_dir=sys.argv[1])
results = [context.validation_results_store.get(key) for key in context.validation_results_store.list_keys()]
checkpoint = context.checkpoints.get("KPS_T_SALESPAY_MD")
frame = pandas.DataFrame(json.loads(sys.argv[2]))
again = checkpoint.run(batch_parameters={"dataframe": frame})
frame.loc[frame.measure == "rows", "target"] = "999"
differs = checkpoint.run(batch_parameters={"dataframe": frame})
pages = context.build_data_docs()
print(json.dumps({
    "suites": sorted(suite.name for suite in context.suites.all()),
    "definitions": sorted(definition.name for definition in context.validation_definitions.all()),
    "checkpoints": sorted(checkpoint.name for checkpoint in context.checkpoints.all()),
    "fresh": [checkpoint.is_fresh().success for checkpoint in context.checkpoints.all()],
    "expectations": len(checkpoint.validation_definitions[0].suite.expectations),
    "results": sorted([result.success, result.meta["checkpoint_id"], len(result.results)] for result in results),
    "ids": {checkpoint.name: checkpoint.id for checkpoint in context.checkpoints.all()},
    "again": again.success,
    "differs": [r.expectation_config.kwargs["measure"] for run in differs.run_results.values() for r in run.results
                if not r.success],
    "pages": pages,
}))
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the library finds in a project of three results, in a process that has imported nothing of ours."""
    root = tmp_path_factory.mktemp("project")
    wrong = changed(agreeing(PAYMENTS), "rows", target=None)
    validate(SUPPLIERS, "ALL", agreeing(SUPPLIERS), run_name="run-1", root=root, clock=lambda: minutes_later(1))
    for minute, numbers in enumerate((agreeing(PAYMENTS), wrong), start=2):
        validate(PAYMENTS, "2024-01", numbers, run_name=f"run-{minute}", root=root, clock=lambda: minutes_later(2))
    build_data_docs(root)
    configuration = (root / "gx" / "great_expectations.yml").read_bytes()
    done = subprocess.run(  # noqa: S603  our own interpreter and script
        [sys.executable, "-c", _OPENED, str(root), json.dumps(frame(agreeing(PAYMENTS)))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (root / "gx" / "great_expectations.yml").read_bytes() == configuration
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found | {"root": root}


def frame(comparisons: list[Any]) -> list[dict[str, str]]:
    """The comparisons as the checkpoint's data frame, written from the format's description alone."""
    names = ("level", "measure", "source", "excepted", "target", "tolerance")
    return [{name: str(getattr(one, name)) for name in names} for one in comparisons]


def test_definitions_are_the_librarys_own(opened: dict[str, Any]) -> None:
    """A suite, a validation definition and a checkpoint per table, which the library takes for its own."""
    tables = ["KPS_R_POS_SUPPLIER", "KPS_T_SALESPAY_MD"]
    assert opened["suites"] == opened["definitions"] == opened["checkpoints"] == tables
    assert opened["fresh"] == [True, True]
    assert opened["expectations"] == 1 + 5 + 1


def test_results_name_the_checkpoint_that_made_them(opened: dict[str, Any]) -> None:
    """Every result is there, with the id of its table's checkpoint."""
    suppliers, payments = (opened["ids"][name] for name in ("KPS_R_POS_SUPPLIER", "KPS_T_SALESPAY_MD"))
    assert opened["results"] == sorted([[False, payments, 7], [True, payments, 7], [True, suppliers, 2]])


def test_checkpoint_runs_again_on_given_numbers(opened: dict[str, Any]) -> None:
    """Whoever has the numbers can check them with the stored checkpoint; a wrong one fails."""
    assert opened["again"] is True
    assert opened["differs"] == ["rows"]


def test_a_stored_result_is_what_the_library_would_store(tmp_path: Path) -> None:
    """Our store writes the same JSON, only faster."""
    from great_expectations.data_context.store.validation_results_store import ValidationResultsStore

    wrong = changed(agreeing(PAYMENTS), "PAY_AMT sum", target=None)
    validate(PAYMENTS, "2024-01", wrong[:-1], run_name="run-1", root=tmp_path, clock=lambda: minutes_later(1))
    (file,) = (tmp_path / "gx" / "uncommitted" / "validations").rglob("*.json")
    library = ValidationResultsStore(store_backend={"class_name": "InMemoryStoreBackend"})
    stored = file.read_text(encoding="utf-8")
    assert json.loads(library.serialize(library.deserialize(stored))) == json.loads(stored)


def test_library_builds_the_pages(opened: dict[str, Any]) -> None:
    """The library's own call builds the site."""
    (page,) = opened["pages"].values()
    assert Path(page.removeprefix("file://")) == opened["root"] / "gx/uncommitted/data_docs/migration/index.html"
