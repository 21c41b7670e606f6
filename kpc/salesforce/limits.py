"""The org's remaining allowances: batches and API calls are reported, bulk records are not."""

from __future__ import annotations

from dataclasses import dataclass

from kpc.salesforce.rest import Rest


@dataclass(frozen=True, slots=True)
class Limit:
    max: int
    remaining: int


class LimitsApi(Rest):
    def limits(self) -> dict[str, Limit]:
        """By Salesforce's names, e.g. DailyBulkApiBatches, DailyApiRequests."""
        answer = self.ask("/limits")
        return {name: Limit(int(one["Max"]), int(one["Remaining"])) for name, one in answer.items()}
