"""How long a query takes at the real size of its object.

The speeds are assumptions, each with a switch: Salesforce publishes only that a query ends after two minutes, and
experience adds that a COUNT over about 50 million records, sums over a few tens of millions, and an unselective filter
over some 10 million do not end by then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kpc.emulators.salesforce.optimizer.indexes import index_of
from kpc.emulators.salesforce.optimizer.plans import Planner, QueryPlan
from kpc.emulators.salesforce.org.schema import OrgSchema
from kpc.emulators.salesforce.settings import Switches
from kpc.emulators.salesforce.soql.compiled import Compiled
from kpc.emulators.salesforce.soql.tree import Compare, Logic, SoqlQuery

_FREE_RECORDS = 1000  # a query that touches fewer costs nothing worth a count


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds at the real size: until the first record is known, and until the end. `sub_queries` as in the log."""

    first_s: float
    total_s: float
    sub_queries: int = 1


def rest_timing(planner: Planner, compiled: Compiled, plan: QueryPlan, switches: Switches, schema: OrgSchema) -> Timing:
    """Of a query that is answered at once: everything must be known before its first page."""
    seconds = _seconds(planner, compiled, plan, switches, schema)
    for inner in planner.subqueries(compiled):
        seconds += _seconds(planner, inner, planner.plans(inner)[0], switches, schema)
    return Timing(seconds, seconds)


def bulk_timing(planner: Planner, compiled: Compiled, plan: QueryPlan, switches: Switches, schema: OrgSchema) -> Timing:
    """Of a bulk query. Without LIMIT and ORDER BY a custom object is read in pieces of so many ids, whatever is asked.

    Bulk API 2.0 guide: ORDER BY and LIMIT switch the splitting off.
    """
    query = compiled.query
    if query.limit is not None or query.order_by or not compiled.sobject.is_custom:
        timing = rest_timing(planner, compiled, plan, switches, schema)
        begins_at_once = query.where is None and all(_follows_index(query, compiled, schema))
        return Timing(0.0, timing.total_s) if begins_at_once else timing
    records = planner.stored(compiled.sobject) * planner.scale
    pieces = max(1, math.ceil(records / max(switches.bulk_chunk_records, 1)))
    return Timing(0.0, _time(records, switches.scan_records_per_s), pieces)


def _seconds(planner: Planner, compiled: Compiled, plan: QueryPlan, switches: Switches, schema: OrgSchema) -> float:
    query = compiled.query
    if query.limit is not None and _is_read_in_order(query, compiled, schema):
        return _time((query.limit + query.offset) * planner.scale, switches.index_records_per_s)
    records = planner.stored(compiled.sobject) * planner.scale
    share = _share(planner, compiled, schema)
    rate = switches.scan_records_per_s
    if query.where is None and compiled.is_count:
        rate = switches.count_records_per_s
    elif query.where is None and compiled.is_aggregate:
        rate = switches.aggregate_records_per_s
    scan_s = _time(records * share, rate)
    if plan.way is None:
        return scan_s
    return min(scan_s, _time(plan.way.cardinality * share, switches.index_records_per_s))


def _share(planner: Planner, compiled: Compiled, schema: OrgSchema) -> float:
    """The part of the records after which LIMIT ends the reading."""
    query = compiled.query
    if query.limit is None or compiled.is_aggregate or compiled.is_count:
        return 1.0
    if not all(_follows_index(query, compiled, schema)):
        return 1.0
    matches = planner.matches(query) if query.where else planner.stored(compiled.sobject)
    return min(1.0, (query.limit + query.offset) / (matches + 1))


def _follows_index(query: SoqlQuery, compiled: Compiled, schema: OrgSchema) -> list[bool]:
    """Of each part of ORDER BY, whether the records can be read in its order instead of being sorted."""
    indexes = [index_of(order.expression, compiled.sobject, schema) for order in query.order_by]
    return [index is not None and index.keeps_order for index in indexes]


def _is_read_in_order(query: SoqlQuery, compiled: Compiled, schema: OrgSchema) -> bool:
    """Whether every record of the index in its order, from where the filter's range begins, is wanted.

    `WHERE Id >= X ORDER BY Id LIMIT N` reads N records, however many the range holds.
    """
    if len(query.order_by) != 1 or not all(_follows_index(query, compiled, schema)):
        return False
    (order,) = query.order_by
    index = index_of(order.expression, compiled.sobject, schema)
    leaves = query.where.parts if isinstance(query.where, Logic) and query.where.operator == "AND" else (query.where,)
    return index is not None and all(
        isinstance(leaf, Compare) and leaf.left == order.expression and index.serves(leaf) for leaf in leaves
    )


def _time(records: float, per_s: float) -> float:
    return records / per_s if per_s and records >= _FREE_RECORDS else 0.0
