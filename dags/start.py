"""`python -m dags.start scheduler` is `airflow scheduler` with the tasks' modules already imported.

The scheduler's LocalExecutor forks its workers, and they fork a process per task. Tasks inherit the modules that the
parent has imported; importing great_expectations alone would cost each task five seconds. Only modules that start no
thread may be listed here, because threads do not survive a fork; polars starts one and is imported by the tasks.
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
        gc.freeze()  # otherwise the first collection in each child would copy all this memory
    from airflow.__main__ import main as airflow  # noqa: PLC0415  must come after the imports above

    airflow()  # type: ignore[no-untyped-call]  # Airflow's own


if __name__ == "__main__":
    main()
