"""Lets queries take the time that they would take at the real size, ends those that take too long, and notes all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.optimizer.plans import Planner
from kpc.emulators.salesforce.optimizer.query_log import QueryLog, QueryRecord
from kpc.emulators.salesforce.optimizer.timing import Timing, bulk_timing, rest_timing
from kpc.emulators.salesforce.org.org import Org
from kpc.emulators.salesforce.soql.compiled import Compiled

_SHORTEST_WAIT_S = 0.001
_LOOK_S = 0.1  # how often somebody who waits looks whether he still has to


class Optimizer:
    """One org's: its scale and switches, and the log of its queries."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._stopping = threading.Event()
        self.log = QueryLog()

    def explain(self, compiled: Compiled, soql: str) -> dict[str, object]:
        """The answer to /query?explain=: the plan that would be used first."""
        with self._org.storage.reading() as session:
            plans = Planner(self._org, session).plans(compiled)
        return {"plans": [plan.as_json() for plan in plans], "sourceQuery": soql}

    @contextmanager
    def timed(
        self, api: str, compiled: Compiled, soql: str, is_over: Callable[[], bool] = lambda: False
    ) -> Iterator[QueryRecord]:
        """Runs the block as a query and ends when the query would: seconds at the real size divided by the scale.

        Raises QUERY_TIMEOUT, after the wait, instead of running the block, if the first record takes too long.
        `is_over` tells that nobody waits for the query any more.
        """
        started = time.monotonic()
        record, timing = self._planned(api, compiled, soql)
        try:
            self._demand_in_time(started, timing, is_over)
            yield record
            self._wait(started, timing.total_s, is_over)
        except BaseException as error:
            record.end = getattr(error, "code", type(error).__name__)
            raise
        record.end = "ok"

    def stop(self) -> None:
        """Nobody waits any longer."""
        self._stopping.set()

    def _planned(self, api: str, compiled: Compiled, soql: str) -> tuple[QueryRecord, Timing]:
        with self._org.storage.reading() as session:
            planner = Planner(self._org, session)
            plan = planner.plans(compiled)[0]
            timing = Timing(0.0, 0.0)
            if self._org.scale:
                measure = bulk_timing if api == "bulk" else rest_timing
                timing = measure(planner, compiled, plan, self._org.switches, self._org.schema)
        record = QueryRecord(
            api=api,
            soql=soql,
            object=compiled.sobject.name,
            leading_operation=plan.leading_operation,
            fields=plan.fields,
            cardinality=plan.cardinality,
            object_cardinality=plan.records,
            relative_cost=round(plan.cost, 4),
            is_selective=plan.is_selective,
            virtual_s=timing.total_s,
            sub_queries=timing.sub_queries,
        )
        return self.log.add(record), timing

    def _demand_in_time(self, started: float, timing: Timing, is_over: Callable[[], bool]) -> None:
        limit_s = self._org.switches.query_timeout_s
        if limit_s and timing.first_s > limit_s:
            self._wait(started, limit_s, is_over)
            raise ApiError(400, "QUERY_TIMEOUT", "Your query request was running for too long.")

    def _wait(self, started: float, virtual_s: float, is_over: Callable[[], bool]) -> None:
        until = started + virtual_s / max(self._org.scale, 1)
        while (left_s := until - time.monotonic()) > _SHORTEST_WAIT_S and not is_over():
            if self._stopping.wait(min(left_s, _LOOK_S)):
                return
