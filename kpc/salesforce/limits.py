"""The org's remaining allowances: batches and API calls are reported, bulk records are not."""

from __future__ import annotations

from dataclasses import dataclass

from kpc.salesforce.rest import Rest
from kpc.salesforce.shapes import Count, Shape


@dataclass(frozen=True, slots=True)
class Limit:
    max: int
    remaining: int


class _Allowance(Shape):
    Max: Count
    Remaining: int


class LimitsApi(Rest):
    def limits(self) -> dict[str, Limit]:
        """By Salesforce's names, e.g. DailyBulkApiBatches, DailyApiRequests."""
        answer = self.ask(dict[str, _Allowance], "/limits")
        return {name: Limit(one.Max, min(one.Remaining, one.Max)) for name, one in answer.items()}
