"""Run as a program: reads the installed DAG file as Airflow's DAG processor does, and prints what came of it."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag


def main() -> None:
    spec = find_spec("dags")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    bag = DagBag(str(folder / "pipeline.py"))
    print(json.dumps({"folder": str(folder), "dags": sorted(bag.dags), "errors": bag.import_errors}))  # noqa: T201  the answer


if __name__ == "__main__":
    main()
