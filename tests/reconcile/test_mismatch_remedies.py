"""The commands that a message names are typed as they stand there, and heal what it speaks of."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import environment_of
from emulated_org import Emulator
from oracle_source import OracleServer
from typer.testing import CliRunner, Result

from kpc.cli import app
from kpc.salesforce import Salesforce, connect

TABLE, OBJECT = "KPS_R_EMAIL_TENANT", "KPS_EmailTenant__c"
RUN = ("run", TABLE, "ALL")


@dataclass
class Shell:
    """`kpc` between a source and an org of the test's own."""

    environment: dict[str, str]
    source: OracleServer
    org: Salesforce

    def kpc(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=self.environment)

    def type_remedies(self, told: Result) -> list[Result]:
        """Run the commands that a message names, but for those of Airflow, which is not there, and of looking."""
        commands = [shlex.split(each)[1:] for each in re.findall(r"`(kpc [^`]+)`", " ".join(told.stderr.split()))]
        return [self.kpc(*each) for each in commands if each[0] in ("run", "rollback", "plan")]

    def records(self) -> list[dict[str, object]]:
        return list(self.org.query(f"SELECT Id, External_ID__c FROM {OBJECT}"))


@pytest.fixture
def shell(
    tmp_path: Path,
    oracles: Callable[..., OracleServer],
    emulated: Callable[..., Emulator],
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    monkeypatch.chdir(tmp_path)
    source, org = oracles("--rows", "1500", "--months", "2024-01"), emulated()
    return Shell(environment_of(source, org.settings), source, connect(org.settings))


def test_full_load_brings_deleted_and_changed_records_back(shell: Shell) -> None:
    """An ordinary run sends nothing and says so; the command that the mismatch names reconciles the partition."""
    assert shell.kpc(*RUN).exit_code == 0
    gone, changed = shell.records()[:2]
    shell.org.tell("DELETE", f"/sobjects/{OBJECT}/{gone['Id']}", {})
    shell.org.tell("PATCH", f"/sobjects/{OBJECT}/{changed['Id']}", {"Email__c": "other@example.org"})
    for command in (("reconcile", TABLE, "ALL"), RUN):
        told = shell.kpc(*command)
        assert told.exit_code == 1
        assert "repairs nothing" in " ".join(told.stderr.split())
    assert [done.exit_code for done in shell.type_remedies(told)] == [0]
    assert shell.kpc("reconcile", TABLE, "ALL").exit_code == 0


def test_rollback_removes_what_oracle_no_longer_has(shell: Shell) -> None:
    """A record whose row is gone from Oracle is only in Salesforce; both commands of the message, in their order."""
    assert shell.kpc(*RUN).exit_code == 0
    before = len(shell.records())
    shell.source.execute(f"delete from {TABLE} where ROWNUM = 1")
    told = shell.kpc(*RUN)
    assert told.exit_code == 1
    assert [done.exit_code for done in shell.type_remedies(told)] == [0, 0]
    assert shell.kpc("reconcile", TABLE, "ALL").exit_code == 0
    assert len(shell.records()) == before - 1


def test_plan_asks_for_the_months_it_needs(shell: Shell) -> None:
    """A table that is split by month needs them, another one does not."""
    told = shell.kpc("plan", "--tables", "KPS_T_SALES_M")
    assert told.exit_code == 1
    words = " ".join(told.stderr.split())
    assert "--months is missing: KPS_T_SALES_M is split by month" in words
    assert shell.kpc("plan", "--tables", "KPS_T_SALES_M", "--months", "2024-01:3").exit_code == 0
    whole = shell.kpc("plan", "--tables", TABLE, "--json")
    assert whole.exit_code == 0
    assert (json.loads(whole.stdout)["months"], len(json.loads(whole.stdout)["tables"])) == ([], 1)


def test_status_says_when_the_org_was_asked(shell: Shell) -> None:
    """The API calls of everybody are known as of the last load; before it, they are not known."""
    assert "are not known yet" in " ".join(shell.kpc("status").stderr.split())
    assert shell.kpc(*RUN).exit_code == 0
    words = " ".join(shell.kpc("status").stderr.split())
    assert re.search(r"As the org said at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(0 min ago\)", words)
    assert re.search(r"[\d,]+ of [\d,]+ API calls", words)


def test_correction_is_imported_and_shown_by_command(shell: Shell, tmp_path: Path) -> None:
    """Export, a spreadsheet's TRUE beside the corrected cell, import, show and audit; a missing file is named."""
    insert = f"insert into {TABLE} (SHOP_CODE, SEQ, EMAIL, ACTIVE, CONFFLAG) values ('00123', 1, 'bad', 1, 'Y')"
    shell.source.execute(insert)
    assert shell.kpc(*RUN).exit_code == 3
    missing = shell.kpc("failed", TABLE, "ALL", "--import", "nowhere.csv")
    assert "There is no file nowhere.csv" in missing.stderr
    Path("file").write_text("")
    assert "The folder of --export file/f.csv" in shell.kpc("failed", TABLE, "ALL", "--export", "file/f.csv").stderr
    assert shell.kpc("failed", TABLE, "ALL", "--export", "f.csv").exit_code == 0
    text = Path("f.csv").read_text("utf-8-sig")
    Path("f.csv").write_text(text.replace(",bad,true,", ",good@example.org,TRUE,"), "utf-8")
    sent = shell.kpc("failed", TABLE, "ALL", "--import", "f.csv", "--json")
    assert sent.exit_code == 0, sent.output
    assert f"{TABLE} ALL, 00123|1: Email__c is changed" in " ".join(sent.stderr.split())
    (shown,) = json.loads(shell.kpc("show", TABLE, "ALL", "--json").stdout)["corrections"]
    (logged,) = json.loads(shell.kpc("audit", "--json").stdout)["corrections"]
    assert shown["field"] == logged["field"] == "Email__c"
    assert "Email__c" in shell.kpc("audit").stdout
    assert shell.kpc("failed", TABLE, "ALL", "--allow-fields", "Email__c").exit_code == 1
    assert shell.kpc("reconcile", TABLE, "ALL").exit_code == 3
