"""`python -m dags.start scheduler` is `airflow scheduler` with what the tasks need already imported.

The scheduler's LocalExecutor forks its workers, and they fork a process per task. What the parent has imported, the
tasks need not: great_expectations alone costs each of them five seconds otherwise. Only modules that start no thread
may stand here, because a thread does not survive a fork; polars starts one and is left to the tasks.
"""

from __future__ import annotations

import gc
import importlib
import sys

_FOR_TASKS = (
    "great_expectations",
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.dagbag",
    "alembic.command",
    "httpx",
    "oracledb",
    "psycopg2",
    "pydantic_settings",
    "sqlalchemy.dialects.postgresql",
)


def main() -> None:
    if sys.argv[1:2] == ["scheduler"]:
        for name in _FOR_TASKS:
            importlib.import_module(name)
        gc.freeze()  # or the first collection in each child would copy all of it
    from airflow.__main__ import main as airflow  # noqa: PLC0415  after the imports above, which it must not disturb

    airflow()


if __name__ == "__main__":
    main()
