"""The task that extracts a partition from Oracle; while it may not read yet, it waits without holding a slot."""

from __future__ import annotations

from datetime import datetime
from time import process_time
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import TaskDeferred

from assets.oracle_extract import oracle_extract
from dags.connections import partition_context_of
from dags.events import DRY_RUN_PARAM, publish
from dags.operators import WAITS_UNTIL
from kpc.errors import NotYet

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context


class ExtractPartition(BaseOperator):
    """Seals one extract of the run's partition and attaches its result to the event of `asset`.

    The SCN is taken after the window opens. If the window closes between two chunks, this try ends; the finished
    chunks are kept, and the rest is read when the window opens again.
    """

    def __init__(self, *, table: str, asset: Asset, **kwargs: Any) -> None:
        super().__init__(outlets=[asset], **kwargs)
        self.table = table
        self.asset = asset

    def execute(self, context: Context) -> dict[str, object]:
        from kpc.campaign.scope_check import refuse_outside_scope  # noqa: PLC0415  slow to import

        began_s, params = process_time(), context["params"]
        try:
            with partition_context_of(self.table, context) as partition:
                refuse_outside_scope(partition)
                result = oracle_extract.materialize(partition, params["mode"], same_scn=params["same_scn"])
        except NotYet as wait:
            self.log.info("%s is waiting. %s", self.table, wait)
            context["ti"].xcom_push(key=WAITS_UNTIL, value=wait.again_utc.isoformat(timespec="seconds"))
            trigger = DateTimeTrigger(moment=wait.again_utc)
            raise TaskDeferred(trigger=trigger, method_name=self.resume.__name__) from None
        dry_run = {DRY_RUN_PARAM: True} if params[DRY_RUN_PARAM] else {}
        return publish(self.asset, context, result, process_time() - began_s, **dry_run)

    def resume(self, context: Context, event: datetime) -> dict[str, object]:
        self.log.info("The wait ended at %s.", event)
        return self.execute(context)
