"""What an asset event says: the stage's result, and the CPU time that the work took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

if TYPE_CHECKING:
    from kpc.stages.result import StageResult

CPU_S = "cpu_s"  # of a result: the CPU seconds it took, this process only


def publish(asset: Asset, context: Mapping[str, Any], result: StageResult, cpu_s: float) -> dict[str, object]:
    """Put the stage's result on the asset's event, where people see it, and return it as the task's result."""
    facts = {**result.as_json(), CPU_S: round(cpu_s, 2)}
    context["outlet_events"][asset].extra = facts
    return facts
