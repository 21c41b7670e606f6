"""`kpc status --watch`: redrawn in a terminal, a line per change elsewhere; it ends with the campaign or by Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import environment_of
from emulated_org import Emulator
from oracle_source import OracleServer

from kpc.bench.filled_ledger import FILLED, NOW, fill
from kpc.campaign.overview import campaign_overview
from kpc.cli.watch import ChangeLines, has_ended
from kpc.ledger import FailureReport, Ledger, open_ledger
from kpc.settings import SalesforceSettings

KPC = str(Path(sys.executable).with_name("kpc"))
ENDS_S = 120


@pytest.fixture
def environment(oracle: OracleServer, emulated: Callable[..., Emulator]) -> dict[str, str]:
    return {**os.environ, **environment_of(oracle, emulated().settings), "COLUMNS": "160", "TERM": "xterm"}


@pytest.fixture
def loaded(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of a ledger in which one partition is reconciled."""
    subprocess.run([KPC, "run", "KPS_R_POS_SUPPLIER", "ALL"], cwd=tmp_path, env=environment, check=True, timeout=ENDS_S)
    return environment


def watch(environment: dict[str, str], folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [KPC, "status", "--watch", "--interval", "0.5", *options]
    return subprocess.run(
        command, cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=ENDS_S
    )


def test_it_ends_when_everything_has_ended(loaded: dict[str, str], tmp_path: Path) -> None:
    """A line for the partition, or one object of JSON; exit code 0."""
    lines = watch(loaded, tmp_path)
    assert (lines.returncode, lines.stdout.count("\n")) == (0, 1), lines.stderr
    assert re.fullmatch(r"\d\d:\d\d:\d\d KPS_R_POS_SUPPLIER ALL: reconciled \(reconciled\)\n", lines.stdout)
    objects = [json.loads(line) for line in watch(loaded, tmp_path, "--json").stdout.splitlines()]
    assert [one["totals"]["by_state"] for one in objects] == [{"reconciled": 1}]


def test_a_terminal_shows_the_tables(loaded: dict[str, str], tmp_path: Path) -> None:
    """The whole campaign in a few lines."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [KPC, "status", "--watch"], cwd=tmp_path, env=loaded, stdout=theirs, stderr=theirs
    ) as running:
        os.close(theirs)
        shown = b"".join(_read(ours)).decode()
        assert running.wait(ENDS_S) == 0, shown
    assert re.search(r"KPS_R_POS_SUPPLIER +1/1 +1/1 +1/1 +1/1 +[\d,]+", shown)
    assert "Quota of 24 h" in shown


def _read(terminal: int) -> Iterator[bytes]:
    try:
        while block := os.read(terminal, 4096):
            yield block
    except OSError:  # so Linux says that the other side has closed it
        return


def test_ctrl_c_ends_it_cleanly(loaded: dict[str, str], tmp_path: Path) -> None:
    """130, without a traceback, while something is still planned."""
    subprocess.run([KPC, "plan", "--months", "2024-01"], cwd=tmp_path, env=loaded, check=False, timeout=ENDS_S)
    command = [KPC, "status", "--watch", "--interval", "0.5"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=loaded, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert "KPS_R_POS_SUPPLIER" in running.stdout.readline()
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=ENDS_S)
    assert running.returncode == 130
    assert "Traceback" not in errors


def test_nothing_planned_is_one_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    """With the command that plans."""
    refused = watch(environment, tmp_path)
    assert refused.returncode == 1
    assert "Nothing is planned." in refused.stderr
    assert "kpc plan" in refused.stderr


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}", clock=lambda: NOW, is_durable=False)
    fill(opened, months=3)
    yield opened
    opened.close()


def test_a_fresh_failure_is_no_end(filled: Ledger) -> None:
    """Airflow may start it again; only what failed some minutes ago has ended."""
    document = campaign_overview(filled, FILLED, SalesforceSettings())
    (cell, *_) = document["cells"]
    alone = {**document, "cells": [cell]}
    ended = document["now_utc"] - timedelta(seconds=20)
    cell["state"], cell["stages"][2] = "failed", {"state": "failed", "finished_utc": ended}
    for stage in (0, 1, 3):
        cell["stages"][stage] = {"state": "done", "finished_utc": ended - timedelta(minutes=9)}
    assert not has_ended(alone)
    later = {**alone, "now_utc": ended + timedelta(minutes=3)}
    assert has_ended(later)
    announced = report_of(cell, is_final=False, reported_utc=ended + timedelta(seconds=1))
    assert not has_ended(later, [announced])  # Airflow waits five minutes and more before another try
    assert has_ended({**alone, "now_utc": ended + timedelta(hours=2)}, [announced])  # it never came
    assert has_ended(later, [replace(announced, is_final=True)])
    assert has_ended(later, [replace(announced, reported_utc=ended - timedelta(hours=1))])  # of an earlier failure


def report_of(cell: Mapping[str, Any], *, is_final: bool, reported_utc: datetime) -> FailureReport:
    return FailureReport(
        cell["table"], cell["key"], "sf_loaded", "SalesforceDown", is_final, "dag", "run", reported_utc
    )


def test_only_changes_make_lines(filled: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    """A second update of the same campaign prints nothing."""
    lines = ChangeLines()
    document = campaign_overview(filled, FILLED, SalesforceSettings())
    lines.show(document)
    begun = sum(cell["state"] != "planned" for cell in document["cells"])
    assert capsys.readouterr().out.count("\n") == begun
    lines.show(document)
    assert capsys.readouterr().out == ""
