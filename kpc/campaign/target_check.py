"""The checks of the org before a campaign: objects and fields, the user's rights, rules, allowances, query plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kpc.campaign.system_check import CheckSubject, SystemCheck
from kpc.campaign.target_allowances import check_allowances, check_version
from kpc.campaign.target_facts import TargetFacts, read_target
from kpc.campaign.target_objects import check_target_object
from kpc.campaign.target_rules import check_rules
from kpc.catalog import TABLES, Table
from kpc.catalog.types import PARTITION_FIELD
from kpc.errors import KpcError
from kpc.load.target_schema import check_object
from kpc.salesforce import Salesforce
from kpc.salesforce.soql import text_literal
from kpc.settings import StagingSettings


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """What the campaign needs of the org: rows by table (empty without a plan), and the tables already loaded."""

    rows: Mapping[str, int] = field(default_factory=dict)
    loaded: frozenset[str] = frozenset()
    staging: StagingSettings = field(default_factory=StagingSettings)


def check_target(salesforce: Salesforce, plan: TargetPlan) -> Iterator[SystemCheck]:
    """The org alone, after its log-in; it changes nothing. An error that ends the checks is one more failed check."""
    version = check_version(salesforce)
    yield version
    if not version.is_ok:
        return
    for table in TABLES.values():
        yield CheckSubject("Salesforce", table.target).run(
            "schema",
            lambda table=table: check_object(salesforce, table),  # type: ignore[misc]
        )
    about = CheckSubject("Salesforce", salesforce.settings.base_url)
    try:
        facts = read_target(salesforce, [table.target for table in TABLES.values()])
        yield about.ok("API", "the user may use the API")
        for table in _visible(facts):
            if table.is_monthly:
                facts.plans[table.target] = salesforce.query_plan(bucket_query(table))
        for table in _visible(facts):
            yield from check_target_object(table, facts, was_loaded=table.name in plan.loaded)
        yield from check_rules(facts)
        yield from check_allowances(facts, plan.rows, salesforce.settings, plan.staging)
    except KpcError as error:
        yield about.failed("API", error.what, error.remedy)


def _visible(facts: TargetFacts) -> list[Table]:
    return [table for table in TABLES.values() if table.target in facts.descriptions]


def bucket_query(table: Table) -> str:
    """The query that counts one bucket of a month; the org is asked for its query plan."""
    return f"SELECT COUNT() FROM {table.target} WHERE {PARTITION_FIELD} IN ({text_literal('2024-01/000')})"  # noqa: S608
