"""The admin endpoints, which Salesforce does not have: state as JSON, switches, faults, clock and history."""

from __future__ import annotations

from collections import Counter
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.errors import OptionError
from kpc.emulators.salesforce.app import access_tokens_of, faults_of, org_of, queries_of, reset_of
from kpc.emulators.salesforce.errors import ApiError, bad_json
from kpc.emulators.salesforce.http.faults import HttpFaults
from kpc.emulators.salesforce.http.wire import Json, read_json, read_object
from kpc.emulators.salesforce.org.clock import iso_offset
from kpc.emulators.salesforce.org.jobs import IN_PROGRESS, OPEN
from kpc.emulators.salesforce.org.org import Org
from kpc.emulators.salesforce.org.storage import Storage, table_of

_MOST_HISTORY = 100_000


async def state(request: Request) -> Response:
    """GET /_emulator/: the whole state."""
    return Json(await run_in_threadpool(_state, org_of(request), faults_of(request)))


def _state(org: Org, faults: HttpFaults) -> dict[str, Any]:
    with org.storage.reading() as session:
        counts = {
            each.name: session.run(f"SELECT count(*) FROM {table_of(each)} WHERE NOT IsDeleted")[0][0]
            for each in org.schema
            if not each.is_setup
        }
    jobs = list(org.jobs)
    return {
        "emulator": "salesforce",
        "org_id": org.identity.org_id,
        "clock": {"now": iso_offset(org.clock.now()), "speed": org.clock.speed},
        "records": counts,
        "used_in_24_hours": {
            "api_requests": org.api_requests.used,
            "batches": org.batches.used,
            "records": org.records.used,
            "query_jobs": org.query_jobs.used,
            "query_result_bytes": org.query_bytes.used,
        },
        "jobs": {
            "by_state": dict(Counter(job.state for job in jobs)),
            "open_or_running": [job.full_info() for job in jobs if job.state in (OPEN, IN_PROGRESS)],
        },
        "switches": org.switches.as_dict(),
        "faults": faults.as_list(),
    }


async def job_times(request: Request) -> Response:
    """GET /_emulator/jobs: of every job its state and when it was closed, started and ended, in org time; 0: not yet.

    Salesforce tells none of these times.
    """
    jobs = [
        {"id": job.id, "state": job.state, "closed": job.closed, "started": job.started, "ended": job.ended}
        for job in org_of(request).jobs
        if job.kind == "ingest"
    ]
    return Json(jobs)


async def change_switches(request: Request) -> Response:
    """PATCH /_emulator/switches {NAME: VALUE}."""
    switches = org_of(request).switches
    try:
        switches.change({name: _plain(value) for name, value in (await read_object(request)).items()})
    except OptionError as error:
        raise ApiError(400, "BAD_SWITCH", str(error)) from error
    return Json(switches.as_dict())


async def add_faults(request: Request) -> Response:
    """POST /_emulator/faults: one rule or a list of rules."""
    faults, body = faults_of(request), await read_json(request)
    for rule in body if isinstance(body, list) else [body]:
        if not isinstance(rule, dict):
            raise bad_json("A fault is a JSON object")
        try:
            faults.add({name: _plain(value) for name, value in rule.items()})
        except OptionError as error:
            raise ApiError(400, "BAD_FAULT", str(error)) from error
    return Json(faults.as_list())


async def clear_faults(request: Request) -> Response:
    """DELETE /_emulator/faults."""
    faults_of(request).clear()
    return Json([])


async def set_clock(request: Request) -> Response:
    """POST /_emulator/clock {"advance_s": 3600, "speed": 60}: move time, or let it run faster or not at all."""
    clock, body = org_of(request).clock, await read_object(request)
    if set(body) - {"advance_s", "speed"}:
        raise bad_json("The clock takes advance_s and speed")
    advance_s, speed = _number(body, "advance_s"), _number(body, "speed")
    if advance_s is not None:
        clock.advance(advance_s)
    if speed is not None:
        clock.run_at(speed)
    return Json({"now": iso_offset(clock.now()), "speed": clock.speed})


async def expire_tokens(request: Request) -> Response:
    """POST /_emulator/tokens/expire: every session ends."""
    return Json({"expired": access_tokens_of(request).expire_all()})


async def use(request: Request) -> Response:
    """POST /_emulator/usage {"batches": 100}: as if another client had used them."""
    org, body = org_of(request), await read_object(request)
    counters = {
        "api_requests": org.api_requests,
        "batches": org.batches,
        "records": org.records,
        "query_jobs": org.query_jobs,
        "query_result_bytes": org.query_bytes,
    }
    for name in body:
        amount = _number(body, name)
        if name not in counters or amount is None:
            raise bad_json(f"Usage is counted for {', '.join(counters)}")
        counters[name].add(int(amount))
    return Json({name: counter.used for name, counter in counters.items()})


async def reset(request: Request) -> Response:
    """POST /_emulator/reset: a new, empty org under the same address, as at the start; answers how to log in to it."""
    renew = reset_of(request)
    if renew is None:
        raise ApiError(400, "BAD_RESET", "An emulator with --data-file or --tls keeps its org; start another one")
    return Json(await run_in_threadpool(renew))


async def history(request: Request) -> Response:
    """GET /_emulator/history?after=N: every accepted write after number N, oldest first, 100,000 at most."""
    after = request.query_params.get("after", "0")
    if not after.isdigit():
        raise ApiError(400, "BAD_NUMBER", "after is a number")
    return Json(await run_in_threadpool(_history, org_of(request).storage, int(after)))


def _history(storage: Storage, after: int) -> list[dict[str, Any]]:
    with storage.reading() as session:
        rows = session.run(
            "SELECT number, written, source, operation, object, record_id, key FROM emulator.history"
            " WHERE number > ? ORDER BY number LIMIT ?",
            [after, _MOST_HISTORY],
        )
    names = ("number", "at", "source", "operation", "object", "id", "key")
    return [dict(zip(names, (row[0], iso_offset(row[1]), *row[2:]), strict=True)) for row in rows]


async def queries(request: Request) -> Response:
    """GET /_emulator/queries: the last queries and what they cost, oldest first."""
    return Json(queries_of(request).optimizer.log.as_list())


async def forget_queries(request: Request) -> Response:
    """DELETE /_emulator/queries."""
    queries_of(request).optimizer.log.clear()
    return Json([])


def _number(body: dict[str, object], name: str) -> float | None:
    value = _plain(body.get(name))
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise bad_json(f"{name} must be a number that is not negative")
    return float(value)


def _plain(value: object) -> object:
    """JSON numbers with a point come as decimals; here floats will do."""
    return float(value) if hasattr(value, "as_tuple") else value  # type: ignore[arg-type]
