"""Airflow repeats a failed task after the wait that a server asked for, within reason."""

from __future__ import annotations

import pytest
from airflow.sdk import RetryDecision
from airflow.sdk.exceptions import TaskDeferralError

from dags.retrying import RetryWhatMayPass
from kpc.errors import ConfigError, RateLimited, SalesforceDown


@pytest.mark.parametrize(("asked_s", "wait_s"), [(120, 120), (0, 60), (10**12, 3600), (float("inf"), 3600)])
def test_a_wish_to_wait_is_bounded(asked_s: float, wait_s: float) -> None:
    """Neither at once nor in a thousand years, whichever error carries the wish."""
    for error in (RateLimited("busy", retry_after_s=asked_s), SalesforceDown("down", retry_after_s=asked_s)):
        decision = RetryWhatMayPass().evaluate(error, 1, 3)
        assert decision.retry_delay is not None
        assert decision.retry_delay.total_seconds() == wait_s


def test_without_a_wish_airflow_decides() -> None:
    """Its own delay applies; a wrong setting is not repeated."""
    assert RetryWhatMayPass().evaluate(RateLimited("busy"), 1, 3).retry_delay is None
    assert RetryWhatMayPass().evaluate(ConfigError("wrong"), 1, 3) != RetryWhatMayPass().evaluate(
        RateLimited("busy"), 1, 3
    )


def test_a_trigger_that_could_not_run_costs_one_try() -> None:
    """The triggerer may have another version of it for a moment."""
    decision = RetryWhatMayPass().evaluate(TaskDeferralError("Trigger failure"), 1, 3)
    assert decision == RetryDecision.retry(reason="TaskDeferralError")
