"""What a dry run would have sent: rows, rejected rows, bytes, jobs and days of quota, from the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kpc.campaign.estimate import allowed_per_day, sending_of
from kpc.campaign.quota_flow import MOST_DAYS
from kpc.campaign.request import request_of
from kpc.ledger import CampaignRow, Ledger, StageRun
from kpc.ledger.states import StageState
from kpc.settings import SalesforceSettings
from kpc.stages.names import STAGED_CSV


@dataclass(frozen=True, slots=True)
class DryRunTable:
    """Sums over the staged partitions of one table; `jobs` is one per chunk, `bytes` are compressed."""

    table: str
    partitions: int = 0
    extracted: int = 0
    to_send: int = 0
    unchanged: int = 0
    rejected: int = 0
    bytes: int = 0
    jobs: int = 0

    def plus(self, run: StageRun) -> DryRunTable:
        detail = run.detail or {}
        count = {name: int(detail.get(name, 0)) for name in ("extracted", "unchanged", "rejected", "chunks")}
        return DryRunTable(
            self.table,
            self.partitions + 1,
            self.extracted + count["extracted"],
            self.to_send + (run.rows or 0),
            self.unchanged + count["unchanged"],
            self.rejected + count["rejected"],
            self.bytes + (run.bytes or 0),
            self.jobs + count["chunks"],
        )


NUMBERS = ("partitions", "extracted", "to_send", "unchanged", "rejected", "bytes", "jobs")


def dry_run_report(ledger: Ledger, campaign: CampaignRow, settings: SalesforceSettings) -> dict[str, Any]:
    """Per table and in total; `quota_days` is in days' worth of records, `hours` the time until all would be sent."""
    wanted = {(one.table.name, one.key) for one in request_of(campaign).partitions}
    tables: dict[str, DryRunTable] = {}
    for run in ledger.stages.newest(campaign.environment):
        is_of_it = (run.table_name, run.partition_key) in wanted and run.started_utc >= campaign.started_utc
        if is_of_it and run.stage == STAGED_CSV and run.state == StageState.DONE:
            tables[run.table_name] = tables.get(run.table_name, DryRunTable(run.table_name)).plus(run)
    listed = [
        {"table": name, **{number: getattr(tables[name], number) for number in NUMBERS}}
        for name in campaign.tables
        if name in tables
    ]
    total = {number: sum(int(str(one[number])) for one in listed) for number in NUMBERS}
    seconds = sending_of(ledger, campaign.environment, settings, total["to_send"])
    return {
        "tables": listed,
        **total,
        "quota_days": round(total["to_send"] / allowed_per_day(settings), 3),
        "hours": round(seconds / 3600, 2) if seconds <= MOST_DAYS * 86_400 else None,
    }


def dry_run_sentence(report: dict[str, Any]) -> str:
    return (
        f"A dry run: {report['to_send']:,} rows would be sent in {report['jobs']:,} jobs ({report['bytes']:,} bytes), "
        f"{report['rejected']:,} rows are rejected; {report['quota_days']} days of quota, {_duration(report['hours'])}."
    )


def _duration(hours: float | None) -> str:
    return f"more than {MOST_DAYS} days" if hours is None else f"about {hours} hours"
