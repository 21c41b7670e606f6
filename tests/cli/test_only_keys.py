"""--only-keys is refused, before anything is read or sent, if it cannot mean one partition's records."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from kpc.cli import app

TABLE = "KPS_T_SALES_M"


@pytest.mark.parametrize(
    "arguments",
    [(TABLE, "--months", "2024-01:2"), (TABLE, "2024-01", "--mode", "full")],
    ids=["several months", "a full load"],
)
def test_only_one_partition_takes_keys(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keys = tmp_path / "keys.csv"
    keys.write_text("A|1\n", encoding="utf-8")
    environment = {"KPC__SALESFORCE__BASE_URL": "http://127.0.0.1:9", "KPC__ORACLE__DSN": "127.0.0.1:9/NONE"}
    told = CliRunner().invoke(app, ["run", *arguments, "--only-keys", str(keys)], env=environment)
    assert told.exit_code == 1
    assert "--only-keys names records of one partition" in told.stderr
    assert "Traceback" not in told.stderr
