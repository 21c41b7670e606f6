"""Partition keys in Airflow: decoded by the migration's own parser; a wrong key is refused before a run is made.

Stock Airflow accepts a run without a key, any text as the key of an asset-triggered run, and `2567-01`, `2024-1` or
`9999-12` as months. `dags.plugin` registers these classes, which Airflow needs to read serialized DAGs.

Airflow 3.3.2 calls `resolve_partition_date` before it creates a manual run (trigger form, REST, materialize, a task of
another DAG), a mapper's `to_downstream` before it creates one for an event, and `iter_partition_dagrun_infos` for a
backfill. It answers with the errors that these raise.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pendulum
from airflow.exceptions import InvalidPartitionKeyError
from airflow.partition_mappers.identity import IdentityMapper
from airflow.timetables.base import DagRunInfo
from airflow.timetables.simple import PartitionedAssetTimetable
from airflow.timetables.trigger import CronPartitionTimetable

from kpc.catalog.types import ALL
from kpc.errors import ConfigError
from kpc.partition import FIRST_YEAR, check_key, month_key, refuse_future_month, this_month

_MONTHLY, _ONCE = "0 0 1 * *", "0 0 1 1 *"
_MONTH_FORMAT = "%Y-%m"


def month_of(key: str) -> datetime:
    """The first day of a month's key, midnight UTC. Raises `ValueError` with what is wrong and what to type."""
    checked(key, is_monthly=True)
    return datetime(int(key[:4]), int(key[5:]), 1, tzinfo=UTC)


def checked(key: str | None, *, is_monthly: bool) -> str:
    """The key, unchanged. Raises `InvalidPartitionKeyError`, a `ValueError`, if missing, wrong or a future month."""
    if not key:
        example = "2024-01" if is_monthly else ALL
        raise InvalidPartitionKeyError(
            f"A partition key is missing. Give one, such as {example}: in the trigger form the field Partition Key "
            'under Advanced Options, in REST "partition_key".'
        )
    try:
        check_key(key, is_monthly=is_monthly)
        if is_monthly:
            refuse_future_month(key)
    except ConfigError as error:
        raise InvalidPartitionKeyError(f"{error.what} {error.remedy}") from None
    return key


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

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterator[DagRunInfo]:
        """The partitions of a backfill: each month that the range touches, or `ALL` once.

        Refuses a range with future months, or with years that a month cannot have.
        """
        from airflow.models.backfill import InvalidBackfillDate  # noqa: PLC0415  slow to import, and used rarely

        last = this_month()
        if not self.is_monthly:
            date = pendulum.instance(self._decode_partition_date(ALL))
            yield DagRunInfo(pendulum.instance(earliest), data_interval=None, partition_date=date, partition_key=ALL)
            return
        if earliest.year < FIRST_YEAR or month_key(latest) > last:
            raise InvalidBackfillDate(
                f"The range {month_key(earliest)} to {month_key(latest)} is not between {FIRST_YEAR}-01 and {last}, "
                f"the current month. Give a range up to {last}, in years of the Gregorian calendar."
            )
        yield from super().iter_partition_dagrun_infos(earliest=month_of(month_key(earliest)), latest=latest)

    def resolve_partition_date(self, partition_key: str | None) -> datetime:
        """Refuses a run without a key too, unlike Airflow's own timetables."""
        return self._decode_partition_date(checked(partition_key, is_monthly=self.is_monthly))

    def _decode_partition_date(self, partition_key: str) -> datetime:
        checked(partition_key, is_monthly=self.is_monthly)
        return month_of(partition_key) if self.is_monthly else super()._decode_partition_date(partition_key)


class FollowingPartitions(PartitionedAssetTimetable):
    """Stages 2 to 4: the event of the stage before starts them with its key, people start them by key."""

    def resolve_partition_date(self, partition_key: str | None) -> datetime | None:
        """Refuses a run without a key too, unlike Airflow's own timetables."""
        mapper = self.default_partition_mapper
        checked(partition_key, is_monthly=isinstance(mapper, PartitionKeyMapper) and mapper.is_monthly)
        return super().resolve_partition_date(partition_key)


class PartitionKeyMapper(IdentityMapper):
    """Stages 2 to 4: the key of the stage before, if it is a partition of the table."""

    def __init__(self, *, is_monthly: bool) -> None:
        super().__init__()
        self.is_monthly = is_monthly

    def to_downstream(self, key: str) -> str:
        """Raises `ValueError` for a wrong key; Airflow then creates no run and records that in its audit log."""
        return checked(key, is_monthly=self.is_monthly)

    def to_partition_date(self, downstream_key: str) -> datetime | None:
        """The month's first day; None for `ALL`. Raises `ValueError` for a wrong key."""
        checked(downstream_key, is_monthly=self.is_monthly)
        return month_of(downstream_key) if self.is_monthly else None

    def serialize(self) -> dict[str, Any]:
        return {"is_monthly": self.is_monthly}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PartitionKeyMapper:
        return cls(is_monthly=data["is_monthly"])
