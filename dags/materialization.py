"""The task of a stage that has only one: it materializes the asset and attaches the result to the asset's event."""

from __future__ import annotations

from time import process_time
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from dags.connections import partition_context_of
from dags.events import is_dry_run, publish
from kpc.stages.names import RECONCILED, STAGED_CSV

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Asset, Context

    from assets.graph import AssetSpec
    from kpc.stages.context import PartitionContext


class MaterializeStage(BaseOperator):
    """Materializes the asset of one partition. Skips itself, and so the later stages, at the end of a dry run."""

    def __init__(self, *, spec: AssetSpec, asset: Asset, upstream: Sequence[Asset], **kwargs: Any) -> None:
        super().__init__(outlets=[asset], inlets=list(upstream), **kwargs)
        self.spec = spec
        self.asset = asset
        self.upstream = upstream

    def execute(self, context: Context) -> dict[str, object]:
        began_s = process_time()
        with partition_context_of(self.spec.table.name, context) as partition:
            result = self.spec.asset.materialize(partition, **self._options(partition))
        if self.spec.stage == STAGED_CSV and is_dry_run(self.upstream, context):
            raise AirflowSkipException(f"Dry run: {result.rows:,} rows of {partition} are staged; nothing is sent.")
        return publish(self.asset, context, result, process_time() - began_s)

    def _options(self, partition: PartitionContext) -> dict[str, Any]:
        """How the running campaign compares the partition, if that differs from the settings."""
        if self.spec.stage != RECONCILED:
            return {}
        from kpc.campaign.lifecycle import comparison_options  # noqa: PLC0415  slow to import

        return comparison_options(partition.ledger, partition.environment, partition.partition)
