"""What Airflow must know to read the migration's DAGs; found by the entry point `airflow.plugins`."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from dags.partition_keys import PartitionKeyMapper, RequestedPartitions


class KpcPlugin(AirflowPlugin):
    name = "kpc"
    timetables = [RequestedPartitions]  # noqa: RUF012  Airflow's interface
    partition_mappers = [PartitionKeyMapper]  # noqa: RUF012
