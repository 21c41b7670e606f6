"""Events that people create by hand: one with a wrong key is refused instead of being recorded without effect.

Active with `AIRFLOW__CORE__ASSET_MANAGER_CLASS=dags.asset_events.CheckedEvents` on the API servers. Without it Airflow
3.3.2 answers such a request with success, starts nothing, and says why only in its audit log.
"""

from __future__ import annotations

from typing import Any

from airflow.assets.manager import AssetManager
from fastapi import HTTPException, status

from assets.graph import find_asset
from dags.partition_keys import checked
from kpc.errors import ConfigError


class CheckedEvents(AssetManager):
    """Airflow's asset manager; it also knows the partition keys of the migration's assets."""

    @classmethod
    def register_asset_change(cls, *, asset: Any, source_is_api: bool = False, **facts: Any) -> Any:
        """Raises `HTTPException` 400 for a manual event without a key of the table. Tasks' events always pass."""
        if source_is_api:
            _refuse_wrong_key(asset.name, facts.get("partition_key"))
        return super().register_asset_change(asset=asset, source_is_api=source_is_api, **facts)


def _refuse_wrong_key(asset: str, key: str | None) -> None:
    try:
        spec = find_asset(asset)
    except ConfigError:
        return  # a hub's asset, or an unrelated one
    try:
        checked(key, is_monthly=spec.table.is_monthly)
    except ValueError as error:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, str(error)) from None
