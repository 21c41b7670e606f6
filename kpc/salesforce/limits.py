"""The org's remaining allowances: batches and API calls are reported, bulk records are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from kpc.salesforce.rest import Rest
from kpc.salesforce.shapes import Count, Shape

NEEDED = ("DailyBulkApiBatches", "DailyApiRequests")  # every org has them, and the quota is checked by them


@dataclass(frozen=True, slots=True)
class Limit:
    max: int
    remaining: int


class _Allowance(Shape):
    Max: Count
    Remaining: int


def _with_needed(answer: dict[str, _Allowance]) -> dict[str, _Allowance]:
    if missing := [name for name in NEEDED if name not in answer]:
        raise ValueError(f"has no {missing[0]}")
    return answer


_Limits = Annotated[dict[str, _Allowance], AfterValidator(_with_needed)]


class LimitsApi(Rest):
    def limits(self) -> dict[str, Limit]:
        """By Salesforce's names, e.g. DailyBulkApiBatches, DailyApiRequests."""
        answer = self.ask(_Limits, "/limits")
        return {name: Limit(one.Max, min(one.Remaining, one.Max)) for name, one in answer.items()}
