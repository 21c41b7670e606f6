"""`python -m dags.start scheduler` is `airflow scheduler` with what the tasks need already imported.

The scheduler's LocalExecutor forks its workers, and they fork a process per task. What the parent has imported, the
tasks need not: great_expectations alone costs each of them five seconds otherwise. Only modules that start no thread
may stand here, because a thread does not survive a fork; polars starts one and is left to the tasks.
"""

from __future__ import annotations

import gc
import importlib
import sys

from expectations.loading import import_great_expectations

_FOR_TASKS = (
    "airflow.providers.standard.decorators.python",
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.dagbag",
    "alembic.command",
    "httpx",
    "oracledb",
    "psycopg2",
    "pydantic_settings",
    "sqlalchemy.dialects.postgresql",
    "dags.hubs",
    "dags.stages",
)


def main() -> None:
    if sys.argv[1:2] == ["scheduler"]:
        import_great_expectations()
        for name in _FOR_TASKS:
            importlib.import_module(name)
        gc.freeze()  # or the first collection in each child would copy all of it
    from airflow.__main__ import main as airflow  # noqa: PLC0415  after the imports above, which it must not disturb

    airflow()  # type: ignore[no-untyped-call]  # Airflow's own


if __name__ == "__main__":
    main()
