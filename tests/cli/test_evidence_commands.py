"""`kpc audit`, `kpc certificate` and `kpc sign-off` from the command line: what they print, and their exit codes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from command_line import environment_of
from emulated_org import Emulator
from oracle_source import OracleServer
from typer.testing import CliRunner, Result

from kpc.cli import app

TABLE = "KPS_R_POS_SUPPLIER"


@pytest.fixture
def kpc(
    tmp_path: Path, oracle: OracleServer, emulated: Callable[..., Emulator], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs a command in an empty folder, against an empty org."""
    monkeypatch.chdir(tmp_path)
    environment = environment_of(oracle, emulated().settings) | {"KPC__CERTIFICATE_KEY": "7" * 64}
    return lambda *arguments: CliRunner().invoke(app, list(arguments), env=environment)


def test_evidence_from_the_command_line(kpc: Callable[..., Result], tmp_path: Path) -> None:
    """Plan, run, sign off, list, verify, export; then a changed row is exit code 1 and one sentence."""
    assert kpc("audit", "verify").exit_code == 1  # nothing was recorded yet
    assert kpc("plan", "--months", "2024-01:1", "--tables", TABLE).exit_code == 0
    assert "cannot be signed off" in kpc("sign-off", "reference").output
    assert kpc("run", TABLE, "ALL").exit_code == 0
    (listed,) = json.loads(kpc("certificate", "list", "--json").stdout)["certificates"]
    assert listed["is_current"]
    assert listed["sha256"] in kpc("certificate", "show", TABLE, "ALL").stdout
    (tmp_path / "public.pem").write_text(kpc("certificate", "public-key").stdout)
    verified = kpc("certificate", "verify", listed["file"], "--public-key", "public.pem", "--json")
    assert verified.exit_code == 0, verified.output
    assert json.loads(verified.stdout)["certificates"][0]["files_checked"] > 4
    made = json.loads(kpc("sign-off", "reference", "--note", "checked", "--json").stdout)
    assert (made["decision"], made["is_authenticated"]) == ("accepted", False)
    (signed,) = json.loads(kpc("sign-off", "list", "--json").stdout)["sign_offs"]
    assert (signed["standing"], signed["certificates"]) == ("stands", 1)
    assert kpc("audit", "export", "log.jsonl").exit_code == 0
    assert "already exists" in kpc("audit", "export", "log.jsonl").output
    signed_anchor = ("--anchor", "log.jsonl", "--public-key", "public.pem")
    clean = json.loads(kpc("audit", "verify", *signed_anchor, "--files", "--json").stdout)
    assert (clean["ok"], clean["unread"]) == (True, 0)
    assert clean["head"] in kpc("audit", "verify").stdout
    assert json.loads(kpc("audit", "show", "--limit", "1", "--json").stdout)["entries"][0]["seq"] == clean["entries"]
    assert "no export was given" in kpc("audit", "verify", "--public-key", "public.pem").output
    log = tmp_path / "log.jsonl"
    (tmp_path / "edited.jsonl").write_text(log.read_text().replace("checked", "unseen"))
    edited = kpc("audit", "verify", "--anchor", "edited.jsonl")
    assert (edited.exit_code, "was changed after it was exported" in edited.stdout) == (1, True)
    with closing(sqlite3.connect(next(tmp_path.rglob("ledger.db")))) as connection, connection:
        connection.execute("UPDATE stage_run SET state = 'mismatch' WHERE stage = 'reconciled'")
    found = kpc("audit", "verify")
    assert found.exit_code == 1
    assert "changed after entry" in found.stdout
    assert kpc("sign-off", "revoke", str(signed["number"])).exit_code == 1
    revoked = kpc("sign-off", "revoke", str(signed["number"]), "--note", "a forged verdict")
    assert revoked.exit_code == 0
    assert [one["standing"] for one in json.loads(kpc("sign-off", "list", "--json").stdout)["sign_offs"]] == [
        "revoked",
        "stands",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("audit", "verify", "--anchor", "missing.jsonl"), "cannot be read"),
        (("certificate", "verify", "missing.json"), "cannot be read"),
        (("certificate", "verify", "empty.json"), "is not a certificate"),
        (("certificate", "verify", "empty.json", "--public-key", "empty.json"), "is not a public key"),
        (("audit", "verify", "--anchor", "empty.json"), "names no head"),
        (("sign-off", "revoke"), "is missing"),
        (("sign-off", "revoke", "7", "--note", "x"), "no sign-off 7"),
        (("certificate", "show", TABLE, "ALL"), "has no certificate"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    kpc: Callable[..., Result], tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """No traceback, and exit code 1."""
    (tmp_path / "empty.json").write_text("{}")
    found = kpc(*arguments)
    assert found.exit_code == 1
    assert message in " ".join(found.output.split())
