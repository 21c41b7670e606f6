"""How a row names its partition: the values to insert, and the condition to find them again."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, and_

from kpc.partition import Partition
from kpc.storage.store import Environment


def place(environment: Environment, partition: Partition) -> dict[str, str]:
    return {
        "source_id": environment.source_id,
        "target_id": environment.target_id,
        "table_name": partition.table.name,
        "partition_key": partition.key,
    }


def here(table: Table, environment: Environment) -> ColumnElement[bool]:
    return and_(table.c.source_id == environment.source_id, table.c.target_id == environment.target_id)


def at(table: Table, environment: Environment, partition: Partition) -> ColumnElement[bool]:
    return and_(
        here(table, environment),
        table.c.table_name == partition.table.name,
        table.c.partition_key == partition.key,
    )
