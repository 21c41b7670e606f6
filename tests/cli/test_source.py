"""`kpc source`: what a person sees and types after a failover."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import environment_of
from oracle_source import OracleServer
from typer.testing import CliRunner, Result

from kpc.cli import app
from kpc.settings import SalesforceSettings


def test_a_failover_is_shown_and_adopted_by_command(
    oracles: Callable[..., OracleServer],
    salesforce: SalesforceSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Refused with the command, also by the preflight; adopted with a reason, which the audit log keeps."""
    monkeypatch.chdir(tmp_path)
    source = oracles("--rows", "500", "--months", "2024-01")

    def kpc(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=environment_of(source, salesforce))

    extract = ("run", "KPS_R_POS_SUPPLIER", "ALL", "--stage", "oracle_extract")
    assert kpc("source", "adopt", "--reason", "none yet").exit_code == 1
    assert kpc(*extract).exit_code == 0
    (before,) = json.loads(kpc("source", "show", "--json").stdout)["sources"]
    assert (before["incarnation"], before["incarnation_utc"]) == (1, None)
    source.admin("POST", "failover")
    refused = kpc(*extract)
    assert refused.exit_code == 1
    assert "kpc source adopt --reason TEXT" in " ".join(refused.stderr.split())
    checks = json.loads(kpc("preflight", "--json").stdout)["checks"]
    (identity,) = [check for check in checks if check["check"] == "identity"]
    assert identity["ok"] is False
    adopted = kpc("source", "adopt", "--reason", "failover to the standby")
    assert adopted.exit_code == 0, adopted.output
    assert f"{before['source_id']} is read as incarnation" in " ".join(adopted.stdout.split())
    assert "reads all of it" in " ".join(adopted.stdout.split())
    assert kpc(*extract).exit_code == 0
    assert "first" not in kpc("source", "show").stdout
    assert kpc("audit").exit_code == 0
