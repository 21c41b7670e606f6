"""What an asset event says: the stage's receipt, and the CPU time that the work took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Asset

CPU_S = "cpu_s"  # of a result: the CPU seconds it took, this process only


def publish(asset: Asset, context: Mapping[str, Any], receipt: dict[str, object], cpu_s: float) -> dict[str, object]:
    """Put the receipt on the asset's event, where people see it, and return it as the task's result."""
    facts = {**receipt, CPU_S: round(cpu_s, 2)}
    context["outlet_events"][asset].extra = facts
    return facts
