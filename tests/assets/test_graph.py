"""The graph that Airflow sees, as a whole and compared with a file that people review."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from checkout import GOLDEN, SUPPORT

from assets.graph import asset_specs, find_asset, hub_specs
from kpc.catalog import TABLES
from kpc.errors import ConfigError
from kpc.processes import python_env
from kpc.stages.names import POOLS, STAGES, find_stage

LISTED = GOLDEN / "graph.txt"


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The graph as a fresh process reads it; Airflow in this one would write into the user's home."""
    env = {**python_env(), "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow"))}
    script = SUPPORT / "graph_listing.py"
    command = [sys.executable, script]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603  ours
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_graph_is_the_reviewed_one(listing: dict[str, Any]) -> None:
    """Every DAG, schedule, task, edge, pool and asset is as in golden/graph.txt; GOLDEN=write renews the file."""
    pools = [f"pool {p.name} slots {p.slots}{' with deferred' if p.includes_deferred else ''}" for p in POOLS]
    text = "\n".join([*listing["lines"], *pools]) + "\n"
    if os.environ.get("GOLDEN") == "write":
        LISTED.write_text(text, encoding="utf-8")
    assert text == LISTED.read_text(encoding="utf-8")


def test_parsing_the_dag_file_is_cheap(listing: dict[str, Any]) -> None:
    """Airflow reads the file for every task: it takes well under a second and imports nothing heavy."""
    assert listing["heavy"] == []
    assert listing["cpu_s"] < 0.9


def test_each_table_has_four_assets_in_a_chain() -> None:
    """64 assets: 16 chains of four, each started by the one before."""
    specs = asset_specs()
    assert len(specs) == 64
    for table in TABLES.values():
        chain = [spec for spec in specs if spec.table is table]
        assert [spec.stage for spec in chain] == list(STAGES)
        assert [spec.upstream for spec in chain] == [None, *(spec.name for spec in chain[:-1])]


def test_only_real_lookups_gate_a_load() -> None:
    """A load waits for the loads of its lookups' tables and for nothing else."""
    assert find_asset("kps_t_sales_md__sf_loaded").parents == ("kps_t_sales_m__sf_loaded",)
    assert find_asset("kps_r_pos_supplier__sf_loaded").parents == ()
    assert all(spec.parents == () for spec in asset_specs() if spec.stage != "sf_loaded")


def test_hubs_reach_every_reconciled_asset() -> None:
    """The three phase hubs stand on all 16 reconciled assets, and migration on the hubs."""
    *phases, migration = hub_specs()
    below = [name for hub in phases for name in hub.upstream]
    assert sorted(below) == sorted(f"{table.slug}__reconciled" for table in TABLES.values())
    assert migration.upstream == tuple(hub.name for hub in phases)


def test_unknown_stage_and_asset_are_named() -> None:
    """A typing mistake gets an answer that says what there is."""
    with pytest.raises(ConfigError, match="oracle_extract, staged_csv, sf_loaded, reconciled"):
        find_stage("loaded")
    with pytest.raises(ConfigError, match="no asset 'nothing'"):
        find_asset("nothing")
