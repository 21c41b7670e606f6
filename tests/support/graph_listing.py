"""Run as a program: reads the DAG file as Airflow does and prints the whole graph, one fact per line, then its cost."""

from __future__ import annotations

import json
import sys
import time

from airflow.sdk import DAG, Asset, PartitionedAssetTimetable

from dags.partition_keys import FollowingPartitions


def schedule_of(dag: DAG) -> str:
    timetable = dag.timetable
    kind = type(timetable).__name__
    if isinstance(timetable, PartitionedAssetTimetable):
        condition = timetable.asset_condition
        names = [asset.name for asset in getattr(condition, "objects", [condition])]
        mapper = type(timetable.default_partition_mapper).__name__
        return f"{kind} {type(condition).__name__}({', '.join(names)}) {mapper}"
    if isinstance(timetable, FollowingPartitions):
        found = ", ".join(key.name for key, _ in timetable.asset_condition.iter_assets())
        return f"{kind} {found} {type(timetable.default_partition_mapper).__name__}"
    return f"{kind} {getattr(timetable, 'summary', None) or getattr(timetable, 'expression', 'never')}"


def names(assets: list[Asset]) -> str:
    return ", ".join(asset.name for asset in assets) or "-"


def describe(dag: DAG) -> list[str]:
    tags = ", ".join(sorted(dag.tags))
    lines = [f"dag {dag.dag_id}", f"  schedule {schedule_of(dag)}", f"  tags {tags}"]
    for name in sorted(dag.task_dict):
        task = dag.task_dict[name]
        task_facts = (
            f"after {', '.join(sorted(task.upstream_task_ids)) or '-'}",
            f"in {names(task.inlets)}",
            f"out {names(task.outlets)}",
            f"pool {task.pool}",
            f"when {task.trigger_rule.value}",
            f"retries {task.retries}",
            "mapped" if task.is_mapped else "",
        )
        lines.append(f"  task {name}: " + "; ".join(fact for fact in task_facts if fact))
    return lines


def main() -> None:
    began = time.process_time()
    from dags import pipeline  # the first import is the parse

    cpu_s = time.process_time() - began
    heavy = ("polars", "oracledb", "great_expectations", "pandas", "kpc.stages.workspace", "kpc.ledger")
    dags = sorted((value for value in vars(pipeline).values() if isinstance(value, DAG)), key=lambda dag: dag.dag_id)
    assets = {asset.name: asset for dag in dags for task in dag.tasks for asset in task.outlets}
    lines = [line for dag in dags for line in describe(dag)]
    lines += [f"asset {name} group {asset.group} uri {asset.uri}" for name, asset in sorted(assets.items())]
    print(json.dumps({"lines": lines, "cpu_s": cpu_s, "heavy": [name for name in heavy if name in sys.modules]}))  # noqa: T201  the answer


if __name__ == "__main__":
    main()
