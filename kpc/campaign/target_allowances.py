"""Checks of what is left of the org's allowances against the plan: storage, API calls, batches, query jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import ceil

from kpc.campaign.read_back import ReadBack, read_back
from kpc.campaign.system_check import CheckSubject, SystemCheck
from kpc.campaign.target_facts import TargetFacts
from kpc.catalog import TABLES
from kpc.catalog.table import Table
from kpc.catalog.types import ALL
from kpc.errors import KpcError
from kpc.salesforce import Limit, Salesforce
from kpc.settings import SalesforceSettings, StagingSettings

RECORD_KB = (
    2  # data storage of one record, whatever its fields ("Data and File Storage Allocations" in Salesforce Help)
)
_LOW_SHARE, _LEAST_SHARE = 0.1, 0.01  # of a day's allowance: low for what is needed, and low in any case
_HIGHEST_USE = 0.9  # of the storage
_OLDEST_VERSIONS = 4  # more than a year of releases

_VERSION = re.compile(r"[0-9]{2,3}\.0", re.ASCII)
_ABOUT = CheckSubject("Salesforce", "org")


def check_allowances(
    facts: TargetFacts, rows: Mapping[str, int], salesforce: SalesforceSettings, staging: StagingSettings
) -> Iterator[SystemCheck]:
    """`rows` by table, as planned; empty without a plan."""
    total = sum(rows.values())
    yield _storage(facts.limits.get("DataStorageMB"), total)
    batches = ceil(total / staging.batch_rows)
    yield _daily("batches", facts.limits.get("DailyBulkApiBatches"), batches, salesforce.quota_share)
    calls = ceil(total / staging.chunk_rows) * 20
    yield _daily("API calls", facts.limits.get("DailyApiRequests"), calls, salesforce.call_share)
    if (jobs := facts.limits.get("DailyBulkV2QueryJobs")) is not None:
        parts = (read_back(TABLES[name], _months(TABLES[name], count), salesforce) for name, count in rows.items())
        back = sum(parts, ReadBack())
        yield _daily("query jobs", jobs, back.jobs, salesforce.quota_share)


def _months(table: Table, rows: int) -> list[tuple[str, int]]:
    """A table's planned rows as partitions of the size that its yearly rows suggest."""
    if not table.is_monthly:
        return [(ALL, rows)]
    months = max(1, round(rows * 12 / table.rows_per_year))
    return [("2024-01", rows // months)] * months


def _storage(limit: Limit | None, rows: int) -> SystemCheck:
    if limit is None:
        return _ABOUT.warning(
            "storage", "The org does not say how much data storage it has left.", "See Setup, Storage Usage."
        )
    if not rows:
        return _ABOUT.warning(
            "storage",
            f"{limit.remaining:,} MB of data storage are left; how many the campaign needs is not known yet.",
            "Run `kpc plan --months FIRST:COUNT`, then preflight again.",
        )
    needed = ceil(rows * RECORD_KB / 1024)
    text = (
        f"{rows:,} rows need about {needed:,} MB of data storage ({RECORD_KB} KB each); {limit.remaining:,} MB are left"
    )
    if needed > limit.remaining:
        return _ABOUT.failed(
            "storage",
            f"{text}: rows beyond them are refused with STORAGE_LIMIT_EXCEEDED.",
            "Buy data storage, delete old records, or plan fewer months (`kpc plan --months FIRST:COUNT`).",
        )
    if limit.max - limit.remaining + needed > limit.max * _HIGHEST_USE:
        return _ABOUT.warning(
            "storage",
            f"{text}: the org will be more than {_HIGHEST_USE:.0%} full.",
            "Tell the administrator, who plans the storage of other software.",
        )
    return _ABOUT.ok("storage", f"{text}.")


def _daily(name: str, limit: Limit | None, needed: int, share: float) -> SystemCheck:
    """An allowance of 24 hours: what is left now, and how many days of our share of it the plan needs."""
    if limit is None or not limit.max:
        return _ABOUT.failed(
            name, f"The org allows no {name}.", "Ask the administrator whether its edition has the Bulk API."
        )
    days = needed / (limit.max * share)
    text = f"{limit.remaining:,} of {limit.max:,} {name} are left today; the plan needs about {needed:,}"
    if limit.remaining < max(min(needed, limit.max * _LOW_SHARE), limit.max * _LEAST_SHARE):
        return _ABOUT.warning(
            name,
            f"{text}: other software, or an earlier load, has used them; the campaign will wait for the rolling 24 "
            "hours.",
            "Find the software in Setup (Company Information, Bulk Data Load Jobs), or start tomorrow.",
        )
    return _ABOUT.ok(name, f"{text}{f', {ceil(days)} days' if days > 1 else ''}.")


def check_version(salesforce: Salesforce) -> SystemCheck:
    """Salesforce retires versions some years after their release, with a year's notice."""
    try:
        versions = salesforce.api_versions()
    except KpcError as error:
        return _ABOUT.failed("API version", error.what, error.remedy)
    version, oldest, newest = salesforce.settings.api_version, versions[0], versions[-1]
    if not _VERSION.fullmatch(version) or not oldest <= float(version) <= newest:
        return _ABOUT.failed(
            "API version",
            f"Version {version} of the API is not one of the org's, {oldest} to {newest}.",
            f"Set KPC__SALESFORCE__API_VERSION to a version in between, such as {newest}.",
        )
    if float(version) < oldest + _OLDEST_VERSIONS:
        return _ABOUT.warning(
            "API version",
            f"Version {version} is one of the oldest that the org still answers to ({oldest} to {newest}); such "
            "versions are retired first.",
            f"Set KPC__SALESFORCE__API_VERSION to {newest} and run preflight again.",
        )
    return _ABOUT.ok("API version", f"{version} of {oldest} to {newest}")
