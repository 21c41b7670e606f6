"""The campaign on a virtual clock: as fast as the quota allows, never above it, polling with adaptive backoff."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kpc.campaign.simulation import Scenario, floor_s, scenarios, simulate
from kpc.cli import app
from kpc.settings import SalesforceSettings

RECORDS = 783_000_000
SMALL = SalesforceSettings(daily_rows=3_000_000, daily_batches=300)  # a fiftieth of everything


@pytest.mark.parametrize(("share", "days"), [(1.0, 5.13), (0.95, 5.27), (0.70, 7.19), (0.65, 8.01)])
def test_floor_is_that_of_the_arithmetic(share: float, days: float) -> None:
    """k whole days, then the rest at 3,000 records/s: the numbers in the plan."""
    settings = SalesforceSettings(quota_share=share, retry_reserve=0)
    assert round(floor_s(Scenario("", RECORDS), settings) / 86_400, 2) == days


@pytest.mark.parametrize(("share", "reserve"), [(1.0, 0.05), (1.0, 0.0)])
def test_small_campaign_keeps_within_its_quota(share: float, reserve: float) -> None:
    """Undisturbed, restarted every hour and with another user: never over the quota, and close to the minimum."""
    settings = SMALL.model_copy(update={"quota_share": share, "retry_reserve": reserve})
    for scenario in scenarios(RECORDS // 50, settings, 3_000.0):
        result = simulate(replace(scenario, chunk_rows=50_000), settings)
        assert result.over_quota_rows == 0, result
        assert result.ratio < 1.02, result
        assert scenario.restarts or result.calls_per_job <= 18, result
        assert (result.restarts > 100) == scenario.restarts


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("share", "reserve", "days"), [("1", "0.05", 5.27), ("1", "0", 5.13), ("0.7", "0", 7.19)])
def test_whole_campaign_ends_within_a_hundredth_of_the_floor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: str, reserve: str, days: float
) -> None:
    """783 million records in 1,566 jobs, 15 API calls each at most, not one record over the quota."""
    monkeypatch.chdir(tmp_path)
    options = ["plan", "--simulate", "--share", share, "--reserve", reserve, "--json"]
    answer = CliRunner().invoke(app, options)
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)["scenarios"]
    assert round(found[0]["floor_days"], 2) == days
    assert [one["ok"] for one in found] == [True] * 3
    assert all(one["jobs"] == 1566 for one in found)


def test_plan_needs_months_or_simulate() -> None:
    """Without either the command says what to write."""
    answer = CliRunner().invoke(app, ["plan"])
    assert answer.exit_code == 1
    assert "--months 2024-01:3" in answer.output
