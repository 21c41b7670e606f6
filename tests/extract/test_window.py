"""Oracle is read at the hours its DBA allows, and at no others."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle_source import OracleServer
from typer.testing import CliRunner

from assets.oracle_extract import oracle_extract
from kpc.cli import app
from kpc.errors import ConfigError, OutsideWindow
from kpc.extract.window import DailyWindow, refuse_outside
from kpc.partition import find_partition
from kpc.settings import SalesforceSettings, load_settings
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

NIGHT = "22:00-06:00"


def bangkok(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, 1, hour, minute, tzinfo=UTC) - timedelta(hours=7)


@pytest.mark.parametrize(
    ("window", "hour", "minute", "is_open"),
    [
        (NIGHT, 22, 0, True),
        (NIGHT, 23, 59, True),
        (NIGHT, 0, 0, True),
        (NIGHT, 5, 59, True),
        (NIGHT, 6, 0, False),
        (NIGHT, 21, 59, False),
        ("09:30-17:00", 9, 29, False),
        ("09:30-17:00", 9, 30, True),
        ("09:30-17:00", 17, 0, False),
    ],
)
def test_a_window_opens_and_closes_to_the_minute(window: str, hour: int, minute: int, is_open: bool) -> None:
    """Local time, over midnight where the end is earlier than the start."""
    made = DailyWindow.of(window)
    assert made is not None
    assert made.is_open(bangkok(hour, minute)) is is_open


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 1439))
def test_the_next_opening_is_open_and_nothing_before_it_is(opens: int, closes: int, now: int) -> None:
    """From any closed minute on, every minute up to the opening is closed too."""
    if opens == closes:
        return
    window = DailyWindow.of(f"{opens // 60:02d}:{opens % 60:02d}-{closes // 60:02d}:{closes % 60:02d}")
    assert window is not None
    moment = bangkok(0) + timedelta(minutes=now)
    if window.is_open(moment):
        return
    opening = window.next_opening(moment)
    assert moment < opening <= moment + timedelta(days=1)
    assert window.is_open(opening)
    assert not window.is_open(opening - timedelta(minutes=1))


@pytest.mark.parametrize("wrong", ["22-06", "22:00-22:00", "25:00-06:00", "always"])
def test_a_wrong_window_is_refused(wrong: str) -> None:
    """With an example of a right one."""
    with pytest.raises(ConfigError, match=r"window"):
        refuse_outside(load_settings(oracle={"window": wrong}).oracle.window, bangkok(12))


def test_without_a_window_it_is_always_open() -> None:
    """The default."""
    refuse_outside("", bangkok(12))


def test_a_window_that_closes_stops_between_two_chunks(
    oracle: OracleServer, workspaces: Callable[..., Workspace], salesforce: SalesforceSettings
) -> None:
    """Finished chunks are kept, the lease is free, the stage is waiting; when it opens the rest is read."""
    partition = find_partition("KPS_T_SALES_M", "2024-01")
    workspace = workspaces(oracle, salesforce)
    workspace.settings.staging.chunk_rows = 60
    workspace.settings.oracle = workspace.settings.oracle.model_copy(update={"window": NIGHT, "sessions": 1})
    root = Path(workspace.settings.staging.root)
    workspace.clock = lambda: bangkok(6, 1) if any(root.rglob("chunk-*.parquet")) else bangkok(5, 58)
    with pytest.raises(OutsideWindow) as caught:
        oracle_extract.materialize(PartitionContext(workspace, partition))
    assert caught.value.again_utc == bangkok(22)
    assert "2026-03-01 22:00" in str(caught.value)
    unfinished = workspace.ledger.generations.unfinished(workspace.environment, partition)
    assert unfinished is not None
    folder = PartitionContext(workspace, partition).paths.generation(unfinished.id).extract
    finished = {path.name: path.stat().st_mtime_ns for path in folder.glob("chunk-*.parquet")}
    assert finished
    run = workspace.ledger.stages.last(workspace.environment, partition, "oracle_extract")
    assert run is not None
    assert run.state == "waiting"
    workspace.clock = lambda: bangkok(22, 5)
    result = oracle_extract.materialize(PartitionContext(workspace, partition))
    assert result.generation == unfinished.id
    assert {name: (folder / name).stat().st_mtime_ns for name in finished} == finished


def test_the_command_says_when_it_may_go_on(
    oracle: OracleServer, salesforce: SalesforceSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 69, the opening as data and as text."""
    now = datetime.now(UTC) + timedelta(hours=7)
    closed = f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"
    settings = {
        "KPC__ORACLE__DSN": oracle.settings.dsn,
        "KPC__ORACLE__USER": oracle.settings.user,
        "KPC__ORACLE__PASSWORD": oracle.settings.password.get_secret_value(),
        "KPC__ORACLE__WINDOW": closed,
        "KPC__SALESFORCE__BASE_URL": salesforce.base_url,
        "KPC__SALESFORCE__CLIENT_ID": salesforce.client_id,
        "KPC__SALESFORCE__CLIENT_SECRET": salesforce.client_secret.get_secret_value(),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["run", "KPS_R_POS_SUPPLIER", "ALL", "--json"])
    assert done.exit_code == 69
    answer = json.loads(done.stdout)
    assert answer["error"] == "OutsideWindow"
    opens = datetime.fromisoformat(answer["again_utc"])
    assert timedelta(hours=1) < opens - datetime.now(UTC) <= timedelta(hours=2)
