"""What somebody asks a campaign to do, checked before anything is started.

The same checks serve Airflow's form (`dags/campaign.py`) and `kpc campaign start`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kpc.catalog import TABLES, Phase, Table, find_table
from kpc.errors import ConfigError
from kpc.ledger import CampaignRow
from kpc.partition import Partition, as_typed, check_key, month_keys, partitions_of, refuse_future_month

MODES = ("incremental", "full")
RECONCILED_CHOICES = ("skip", "again")
LEVEL3_CHOICES = ("setting", "full", "sample")


@dataclass(frozen=True, slots=True)
class CampaignOptions:
    """How a campaign runs.

    `repeats`: partitions that are reconciled already are read again, otherwise skipped. `is_dry_run`: extract and
    stage only. `is_gated`: a phase starts only after the earlier ones are signed off. `level3` and `sample_rows`: how
    its partitions are compared, instead of the settings. `closes`: at the end, Oracle is compared with every extract
    (`kpc delta`). `day` tells the daily campaigns apart.
    """

    repeats: bool = False
    is_dry_run: bool = False
    is_gated: bool = False
    level3: str | None = None
    sample_rows: int | None = None
    closes: bool = False
    day: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CampaignRequest:
    """The tables, in load order, and months of a campaign; `months` is empty if no table is split by month."""

    tables: tuple[Table, ...]
    months: tuple[str, ...]
    mode: str
    options: CampaignOptions

    @property
    def partitions(self) -> tuple[Partition, ...]:
        return tuple(partition for table in self.tables for partition in partitions_of(table, self.months))

    def is_of(self, campaign: CampaignRow) -> bool:
        """Whether a recorded campaign has the same scope and options."""
        same = campaign.tables == [table.name for table in self.tables] and campaign.months == list(self.months)
        return same and campaign.mode == self.mode and options_of(campaign) == self.options


def request_of(campaign: CampaignRow) -> CampaignRequest:
    """What was asked of a recorded campaign. Tables that the catalog no longer has are left out."""
    tables = tuple(TABLES[name] for name in campaign.tables if name in TABLES)
    return CampaignRequest(tables, tuple(campaign.months), campaign.mode, options_of(campaign))


def options_of(campaign: CampaignRow) -> CampaignOptions:
    known = CampaignOptions.__slots__
    return CampaignOptions(**{name: value for name, value in campaign.options.items() if name in known})


def make_request(  # noqa: PLR0913  the fields of a form
    *,
    tables: Sequence[str] | None = None,
    phases: Sequence[str] | None = None,
    first_month: str | None = None,
    last_month: str | None = None,
    mode: str = "incremental",
    reconciled: str = "skip",
    dry_run: bool = False,
    wait_for_sign_off: bool = False,
    level3: str = "setting",
    sample_rows: int | None = None,
    closing_check: bool = False,
) -> CampaignRequest:
    """The request that the fields of the form mean. Raises `ConfigError` naming the field and what to give."""
    _one_of("mode", mode, MODES)
    _one_of("reconciled", reconciled, RECONCILED_CHOICES)
    _one_of("level3", level3, LEVEL3_CHOICES)
    chosen = _chosen(tables or (), phases or ())
    months = _months(chosen, (first_month or "").strip(), (last_month or "").strip())
    if dry_run and (reconciled == "again" or closing_check):
        raise ConfigError(
            "A dry run cannot repeat reconciled partitions or do a closing check: it would replace proven extracts.",
            "Leave reconciled at skip and closing_check off, or switch dry_run off.",
        )
    if sample_rows is not None and level3 != "sample":
        raise ConfigError("sample_rows is given, but level3 is not sample.", "Set level3 to sample, or leave it out.")
    if sample_rows is not None and sample_rows < 1:
        raise ConfigError(f"sample_rows is {sample_rows}.", "Give at least 1.")
    options = CampaignOptions(
        repeats=reconciled == "again",
        is_dry_run=dry_run,
        is_gated=wait_for_sign_off,
        level3=None if level3 == "setting" else level3,
        sample_rows=sample_rows,
        closes=closing_check,
    )
    return CampaignRequest(chosen, months, mode, options)


def _one_of(field: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{field} is {as_typed(value)}.", f"Give one of {', '.join(allowed)}.")


def _chosen(tables: Sequence[str], phases: Sequence[str]) -> tuple[Table, ...]:
    if tables and phases:
        raise ConfigError("Tables and phases are both given.", "Give one of them; both empty means all tables.")
    names = {find_table(name.strip()).name for name in tables}
    for phase in phases:
        if phase not in [*Phase]:
            raise ConfigError(f"There is no phase {as_typed(phase)}.", f"The phases are {', '.join(Phase)}.")
        names |= {table.name for table in TABLES.values() if table.phase == phase}
    return tuple(table for table in TABLES.values() if not names or table.name in names)


def _months(tables: Sequence[Table], first: str, last: str) -> tuple[str, ...]:
    monthly = [table.name for table in tables if table.is_monthly]
    if not monthly:
        return ()
    if not first:
        raise ConfigError(
            f"first_month is missing: {', '.join(monthly)} {'is' if len(monthly) == 1 else 'are'} split by month.",
            "Give the first and the last month, such as 2024-01 and 2024-12.",
        )
    keys = []
    for field, key in (("first_month", first), ("last_month", last or first)):
        try:
            keys.append(check_key(key, is_monthly=True))
            refuse_future_month(key)
        except ConfigError as error:
            raise ConfigError(f"{field}: {error.what}", error.remedy) from None
    count = (int(keys[1][:4]) - int(keys[0][:4])) * 12 + int(keys[1][5:]) - int(keys[0][5:]) + 1
    if count < 1:
        raise ConfigError(f"first_month {first} is after last_month {last}.", "Exchange them.")
    return month_keys(keys[0], count)
