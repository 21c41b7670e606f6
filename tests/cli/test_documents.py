"""`kpc docs` and `kpc report`: what they write, and what they say when something is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from command_line import environment_of
from emulated_org import Emulator
from oracle_source import OracleServer
from typer.testing import CliRunner

from kpc.cli import app

Command = Callable[..., Result]


@pytest.fixture
def kpc(
    tmp_path: Path, oracle: OracleServer, emulated: Callable[..., Emulator], monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Runs a command in an empty folder, against an empty org; keyword arguments change the environment."""
    monkeypatch.chdir(tmp_path)
    environment = environment_of(oracle, emulated().settings)

    def run(*arguments: str, **changes: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={**environment, **changes})

    return run


def test_report_of_a_planned_phase(kpc: Command) -> None:
    """It ends with 3 and says what is missing until the phase is complete, then with 0; each call has its own file."""
    assert "No campaign has been planned yet" in kpc("report").output
    assert kpc("plan", "--tables", "KPS_R_POS_SUPPLIER", "--months", "2024-01:1").exit_code == 0
    early = kpc("report", "reference")
    assert early.exit_code == 3
    assert "Not complete: 1 of 1 partitions are not reconciled" in early.output
    assert kpc("run", "KPS_R_POS_SUPPLIER", "ALL").exit_code == 0
    assert kpc("reconcile", "KPS_R_POS_SUPPLIER").exit_code == 0
    done = kpc("report", "--json")
    assert done.exit_code == 0, done.output
    written = json.loads(done.stdout)
    assert written["is_complete"] is True
    assert written["subject"] == "migration"
    assert len(list(Path(written["report"]).parent.glob("*.html"))) == 2


def test_report_of_something_else(kpc: Command) -> None:
    """A name that is not a phase is refused, and the phases are listed."""
    refused = kpc("report", "KPS_T_SALES_M")
    assert refused.exit_code == 1
    assert "There is no phase 'KPS_T_SALES_M'. Give one of reference" in " ".join(refused.output.split())


def test_docs_without_a_ledger_show_the_plan_as_it_was(kpc: Command) -> None:
    """The pages are built anyway, and one sentence says what is not up to date."""
    assert kpc("plan", "--tables", "KPS_R_POS_SUPPLIER", "--months", "2024-01:1").exit_code == 0
    index = Path(json.loads(kpc("docs", "--json").stdout)["index"])
    assert "not yet extracted" in index.read_text(encoding="utf-8")
    done = kpc("docs", KPC__LEDGER_URL="sqlite:////no/such/folder/ledger.db")
    assert done.exit_code == 0
    assert "are as of the last time that they could be read" in done.output
    assert "not yet extracted" in index.read_text(encoding="utf-8")
