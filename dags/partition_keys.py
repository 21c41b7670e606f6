"""Partition keys in Airflow: decoded by the migration's own parser; a wrong key is refused before a run is made.

Stock Airflow takes any text as the key of an asset-triggered run, and `2567-01`, `2024-1` or `9999-12` as months.
`dags.plugin` registers these classes, which Airflow needs to read serialized DAGs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.exceptions import InvalidPartitionKeyError
from airflow.partition_mappers.identity import IdentityMapper
from airflow.timetables.trigger import CronPartitionTimetable

from kpc.catalog.types import ALL
from kpc.errors import ConfigError
from kpc.partition import check_key

_MONTHLY, _ONCE = "0 0 1 * *", "0 0 1 1 *"
_MONTH_FORMAT = "%Y-%m"


def month_of(key: str) -> datetime:
    """The first day of a month's key, midnight UTC. Raises `ValueError` with what is wrong and what to type."""
    _checked(key, is_monthly=True)
    return datetime(int(key[:4]), int(key[5:]), 1, tzinfo=UTC)


def _checked(key: str, *, is_monthly: bool) -> str:
    try:
        return check_key(key, is_monthly=is_monthly)
    except ConfigError as error:
        raise ValueError(f"{error.what} {error.remedy}") from None


class RequestedPartitions(CronPartitionTimetable):
    """Stage 1: people and campaigns start it by key; it never starts a run by itself. Backfills list its months."""

    def __init__(self, *, is_monthly: bool) -> None:
        cron, key_format = (_MONTHLY, _MONTH_FORMAT) if is_monthly else (_ONCE, ALL)
        super().__init__(cron, timezone="UTC", key_format=key_format)
        self.is_monthly = is_monthly

    def serialize(self) -> dict[str, Any]:
        return {"is_monthly": self.is_monthly}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> RequestedPartitions:
        return cls(is_monthly=data["is_monthly"])

    @property
    def summary(self) -> str:
        return "on request, by month" if self.is_monthly else "on request"

    def next_dagrun_info_v2(self, **_: Any) -> None:
        """No run is ever due."""

    def _decode_partition_date(self, partition_key: str) -> datetime:
        try:
            _checked(partition_key, is_monthly=self.is_monthly)
        except ValueError as error:
            raise InvalidPartitionKeyError(str(error)) from None
        return month_of(partition_key) if self.is_monthly else super()._decode_partition_date(partition_key)


class PartitionKeyMapper(IdentityMapper):
    """Stages 2 to 4: the key of the stage before, if it is a partition of the table."""

    def __init__(self, *, is_monthly: bool) -> None:
        super().__init__()
        self.is_monthly = is_monthly

    def to_downstream(self, key: str) -> str:
        """Raises `ValueError` for a wrong key; Airflow then makes no run and says so in its audit log."""
        return _checked(key, is_monthly=self.is_monthly)

    def to_partition_date(self, downstream_key: str) -> datetime | None:
        """Also called before a run is made by hand: its `ValueError` is the answer of the trigger form and of REST."""
        _checked(downstream_key, is_monthly=self.is_monthly)
        return month_of(downstream_key) if self.is_monthly else None

    def serialize(self) -> dict[str, Any]:
        return {"is_monthly": self.is_monthly}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PartitionKeyMapper:
        return cls(is_monthly=data["is_monthly"])
