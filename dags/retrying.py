"""Which failures Airflow retries: the exception's class decides (see kpc/errors.py)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy
from airflow.sdk.exceptions import TaskDeferralError

from dags.outages import outage_of
from kpc.errors import KpcError, OutcomeUnknown, SnapshotLost, Transient

RETRIES = 3
SHORTEST_WAIT_S, LONGEST_WAIT_S = 60.0, 3600.0  # between two tries, where a server asked for a wait


class RetryWhatMayPass(RetryPolicy):
    """Retries failures that another try may resolve, and fails immediately on all others, such as a wrong key.

    `TaskDeferralError` is a trigger that could not run, for instance because the triggerer has another version of it;
    each of our tasks may begin again.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Mapping[str, Any] | None = None
    ) -> RetryDecision:
        del try_number, max_tries, context
        exception = outage_of(exception) or exception
        reason = str(exception) if isinstance(exception, KpcError) else type(exception).__name__
        if isinstance(exception, Transient) and exception.retry_after_s is not None:
            wait_s = max(SHORTEST_WAIT_S, min(exception.retry_after_s, LONGEST_WAIT_S))
            return RetryDecision.retry(timedelta(seconds=wait_s), reason)
        if isinstance(exception, Transient | SnapshotLost | OutcomeUnknown | TaskDeferralError):
            return RetryDecision.retry(reason=reason)
        return RetryDecision.fail(reason)
