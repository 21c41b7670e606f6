"""Run as a program: one task, supervised by Airflow itself, which asks the API server at an address.

Arguments: a file of the DAGs folder, the name of its DAG and of its task, the server's URL.
"""

from __future__ import annotations

import sys
from uuid import uuid4

from airflow.sdk.api.datamodels._generated import BundleInfo, TaskInstance
from airflow.sdk.execution_time.supervisor import supervise_task


def main() -> None:
    file, dag_id, task_id, server = sys.argv[1:]
    task = TaskInstance(
        id=uuid4(), dag_id=dag_id, task_id=task_id, run_id="run", try_number=1, dag_version_id=uuid4()
    )  # fmt: skip
    bundle = BundleInfo(name="dags-folder")
    supervise_task(
        ti=task, bundle_info=bundle, dag_rel_path=file, token="none", server=server, subprocess_logs_to_stdout=True
    )


if __name__ == "__main__":
    main()
