"""The columns that identify a row's environment and partition: values to insert, and conditions to select by."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, and_

from kpc.partition import Partition
from kpc.storage.store import Environment


def environment_values(environment: Environment) -> dict[str, str]:
    return {"source_id": environment.source_id, "target_id": environment.target_id}


def partition_values(environment: Environment, partition: Partition) -> dict[str, str]:
    return {
        **environment_values(environment),
        "table_name": partition.table.name,
        "partition_key": partition.key,
    }


def in_environment(table: Table, environment: Environment) -> ColumnElement[bool]:
    return and_(table.c.source_id == environment.source_id, table.c.target_id == environment.target_id)


def in_partition(table: Table, environment: Environment, partition: Partition) -> ColumnElement[bool]:
    return and_(
        in_environment(table, environment),
        table.c.table_name == partition.table.name,
        table.c.partition_key == partition.key,
    )
