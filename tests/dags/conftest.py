"""One running Airflow for the tests of partitions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from airflow_world import set_scope, wait_for

from kpc.demo.servers import Data, World, started
from kpc.partition import month_keys
from kpc.stages.names import MIGRATION, MISSED_EVENTS

SCOPE_MONTHS = month_keys("2024-01", 12)


@pytest.fixture(scope="session")
def partition_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A small database with all months of 2024, which is the campaign's scope. Each test has partitions of its own."""
    with started(tmp_path_factory.mktemp("partitions"), Data(rows=6000, months=SCOPE_MONTHS)) as world:
        world.api.ensure_pools()
        wait_for(lambda: MIGRATION in world.api.dag_ids())
        set_scope(world, SCOPE_MONTHS)
        world.api.pause(MISSED_EVENTS)  # or it would start what a test has made a person forget
        yield world
