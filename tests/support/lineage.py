"""A partition through its stages in this process."""

from __future__ import annotations

from typing import Any

from assets.graph import materialize_lineage
from kpc.stages.context import PartitionContext
from kpc.stages.result import StageResult


def results_by_stage(context: PartitionContext, **options: Any) -> dict[str, StageResult]:
    """The result of each stage; `options` as for `materialize_lineage`."""
    return {result.stage: result for result in materialize_lineage(context, **options)}
