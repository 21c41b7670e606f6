"""The content of an asset event: the stage's result, and the CPU time of the work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

if TYPE_CHECKING:
    from kpc.stages.result import StageResult

CPU_S = "cpu_s"  # key of the CPU seconds that produced a result, in this process only


def publish(asset: Asset, context: Mapping[str, Any], result: StageResult, cpu_s: float) -> dict[str, object]:
    """Attach the stage's result to the asset's event, and return it as the task's result."""
    facts = {**result.as_json(), CPU_S: round(cpu_s, 2)}
    context["outlet_events"][asset].extra = facts
    return facts
