"""The content of an asset event: the stage's result, and the CPU time of the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

if TYPE_CHECKING:
    from kpc.stages.result import StageResult

CPU_S = "cpu_s"  # key of the CPU seconds that produced a result, in this process only
DRY_RUN_PARAM = "dry_run"  # of a stage 1 run, and key in its event's content: the next stage is the last one


def publish(
    asset: Asset, context: Mapping[str, Any], result: StageResult, cpu_s: float, **more: bool
) -> dict[str, object]:
    """Attach the stage's result to the asset's event, and return it as the task's result."""
    facts = {**result.as_json(), CPU_S: round(cpu_s, 2), **more}
    context["outlet_events"][asset].extra = facts
    return facts


def is_dry_run(upstream: Sequence[Asset], context: Mapping[str, Any]) -> bool:
    """Whether every event that started this run is of a dry run; false for a manual run, which has no event."""
    events = [event for asset in upstream for event in context["triggering_asset_events"].get(asset) or ()]
    return bool(events) and all((event.extra or {}).get(DRY_RUN_PARAM) for event in events)
