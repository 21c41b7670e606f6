"""A thousand differences of every kind, each the least possible: all are found, with key and fields, nothing else."""

from __future__ import annotations

from pathlib import Path

from kpc.bench.load import emulator
from kpc.bench.made_up_partition import fill_org, new_org, reconcile, write_partition
from kpc.bench.planted_differences import findings, plant

ROWS = 15_000


def test_each_planted_difference_is_found_and_nothing_else(tmp_path: Path) -> None:
    data_file, folder = tmp_path / "org.duckdb", str(tmp_path / "partition")
    org_id = new_org(data_file)
    fill_org(str(data_file), ROWS)
    write_partition(folder, org_id, ROWS)
    with emulator(tmp_path / "first", data_file=data_file) as org:
        assert reconcile(folder, org)["state"] == "reconciled"
    planted = plant(data_file, ROWS)
    assert len({one.external_id for one in planted}) == len(planted) >= 1_000
    with emulator(tmp_path / "second", data_file=data_file) as org:
        report = reconcile(folder, org)
    assert report["state"] == "mismatch"
    assert sorted(findings(report["differing"]), key=str) == sorted(planted, key=str)  # type: ignore[arg-type]
