"""All four stages of one partition in this process, for `kpc run` and for tests; in Airflow the scheduler does this."""

from __future__ import annotations

from collections.abc import Iterator

from assets.graph import STAGES
from assets.reconciled import reconciled
from kpc.errors import ConfigError
from kpc.extract.partition_extract import oracle_extract
from kpc.extract.plan import Mode
from kpc.load.partition_load import missing_parents, sf_loaded
from kpc.partition import Partition
from kpc.stages.result import Receipt
from kpc.stages.workspace import Workspace
from kpc.staging.staged_partition import staged_csv


def materialize(
    partition: Partition, workspace: Workspace, *, mode: Mode = "incremental", stages: tuple[str, ...] = STAGES
) -> Iterator[Receipt]:
    """Yield a receipt after each stage. Raises `ConfigError` before loading if a parent is not loaded."""
    if "oracle_extract" in stages:
        yield oracle_extract(partition, workspace, mode)
    if "staged_csv" in stages:
        yield staged_csv(partition, workspace)
    if "sf_loaded" in stages:
        if missing := missing_parents(partition, workspace):
            names = ", ".join(str(parent) for parent in missing)
            raise ConfigError(
                f"{partition} cannot be loaded before {names}.",
                f"Run `kpc run {missing[0].table.name} {missing[0].key}` first.",
            )
        yield sf_loaded(partition, workspace)
    if "reconciled" in stages:
        yield reconciled(partition, workspace)
