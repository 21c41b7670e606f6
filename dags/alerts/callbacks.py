"""What tasks report when a try fails. A callback's own failure does not affect the task."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from assets.graph import find_asset
from dags.connections import partition_context_of
from dags.outages import outage_of

log = logging.getLogger(__name__)

_KILLED = "Killed"  # the process ended without an error of its own


def report_failed_try(context: Mapping[str, Any]) -> None:
    """`on_retry_callback`: Airflow will try again."""
    _report(context, is_final=False)


def report_failure_for_good(context: Mapping[str, Any]) -> None:
    """`on_failure_callback`: Airflow will not try again."""
    _report(context, is_final=True)


def _report(context: Mapping[str, Any], *, is_final: bool) -> None:
    try:
        from kpc.campaign.alerts import report_failure  # noqa: PLC0415  slow to import

        run, error = context["dag_run"], context.get("exception")
        error = outage_of(error) or error
        spec = find_asset(run.dag_id)
        cause = type(error).__name__ if isinstance(error, BaseException) else _KILLED
        with partition_context_of(spec.table.name, context) as partition:
            if not report_failure(partition, spec.stage, cause=cause, is_final=is_final, dag_id=run.dag_id):
                log.warning("The failure is not reported for alerts: the ledger of KPC__LEDGER_URL knows no campaign.")
    except Exception as error:  # noqa: BLE001  a failed report may only cause this line
        log.warning("The failure could not be reported for alerts: %s.", type(error).__name__)
