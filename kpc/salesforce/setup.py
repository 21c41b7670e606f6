"""What an administrator has set up in the org: permissions, sharing, rules; and the plan of a query."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from kpc.salesforce.answers import Refused
from kpc.salesforce.query import QueryApi
from kpc.salesforce.shapes import ApiName, Count, Shape

_HIDDEN = ("INVALID_TYPE", "INVALID_FIELD", "INSUFFICIENT_ACCESS", "NOT_FOUND", "MALFORMED_QUERY")


class _SetupPage(Shape):
    records: list[dict[str, Any]] = Field(default=[])


class _Version(Shape):
    version: str


class ExplainedPlan(Shape):
    """One way to run a query, by Salesforce's names. An index is used below a `relativeCost` of 1."""

    leadingOperationType: str  # noqa: N815
    relativeCost: float  # noqa: N815
    sobjectCardinality: Count = 0  # noqa: N815
    cardinality: Count = 0


class _Explained(Shape):
    plans: list[ExplainedPlan]


class _RecordCount(Shape):
    name: ApiName
    count: Count


class _RecordCounts(Shape):
    sObjects: list[_RecordCount]  # noqa: N815


class OrgCurrency(Shape):
    """A currency of an org with several, by Salesforce's names."""

    IsoCode: str
    IsActive: bool
    IsCorporate: bool


class _Currencies(Shape):
    records: list[OrgCurrency]


class SetupApi(QueryApi):
    def currencies(self) -> list[OrgCurrency]:
        """The org's currencies; empty if it has but one. Every user may read them."""
        soql = "SELECT IsoCode, IsActive, IsCorporate FROM CurrencyType"
        try:
            return self.ask(_Currencies, "/query", {"q": soql}).records
        except Refused as refused:
            if refused.code != "INVALID_TYPE":
                raise
            return []

    def setup_rows(self, soql: str, *, is_tooling: bool = False) -> list[dict[str, Any]] | None:
        """The rows of one of Setup's objects; None if the org does not show it to this user."""
        try:
            if is_tooling:
                return self.ask(_SetupPage, "/tooling/query", {"q": soql}).records
            return list(self.query(soql))
        except Refused as refused:
            if refused.code not in _HIDDEN:
                raise
            return None

    def query_plan(self, soql: str) -> ExplainedPlan | None:
        """The plan that the org would use; None if it does not explain queries."""
        try:
            plans = self.ask(_Explained, "/query", {"explain": soql}).plans
        except Refused as refused:
            if refused.code not in _HIDDEN:
                raise
            return None
        return plans[0] if plans else None

    def record_counts(self, object_names: list[str]) -> dict[str, int]:
        """About how many records each object has; of all owners, and without a query's time-out."""
        answer = self.ask(_RecordCounts, "/limits/recordCount", {"sObjects": ",".join(object_names)})
        return {one.name: one.count for one in answer.sObjects}

    def api_versions(self) -> list[float]:
        """The versions of the API that the org answers to, oldest first."""
        return sorted(float(one.version) for one in self.ask(list[_Version], "/services/data"))
