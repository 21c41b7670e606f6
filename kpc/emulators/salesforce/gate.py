"""Middleware for every request: path, header size, session, API version, counters, one log line, error handling."""

from __future__ import annotations

import asyncio
import re
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kpc.emulators.salesforce.app import SalesforceEmulator
from kpc.emulators.salesforce.bulk_v1.forms import PREFIX as BULK_V1
from kpc.emulators.salesforce.bulk_v1.forms import refusal
from kpc.emulators.salesforce.errors import ApiError, not_found
from kpc.emulators.salesforce.http.faults import planted_answer
from kpc.emulators.salesforce.http.wire import error_answer
from kpc.emulators.salesforce.org.access import acting_as

_MOST_HEADER_BYTES = 64 * 1024
_FLUSH_S = 0.05  # until the part that is sent before a cut has left
_VERSION = re.compile(r"/services/(?:data/v|async/)(\d\d\.0)(?:/|\Z)")
_WITH_SESSION = ("/services/oauth2/userinfo", "/id/")
NEWEST_VERSION = 66
OLDEST_BULK_V1_VERSION = 31  # clients of Bulk API 1.0 have their old version built in


class Gate:
    """ASGI middleware around all endpoints."""

    def __init__(self, app: ASGIApp, emulator: SalesforceEmulator) -> None:
        self._app = app
        self._emulator = emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = re.sub(r"/{2,}", "/", scope["path"])
        if scope["method"] == "POST" and b"_HttpMethod=PATCH" in scope["query_string"]:
            scope["method"] = "PATCH"  # for clients that cannot send one
        started, status = time.monotonic(), 0
        is_api = scope["path"].startswith("/services/data/v")

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if is_api:
                    message["headers"] = [*message["headers"], (b"sforce-limit-info", self._usage().encode())]
            await send(message)

        try:
            await self._with_faults(scope, receive, noting, is_api=is_api)
        except ClientDisconnect:
            await asyncio.sleep(0)  # lets the server see that the connection is gone
        except ApiError as error:
            is_bulk_v1 = scope["path"].startswith(BULK_V1)
            answer = refusal(Request(scope), error) if is_bulk_v1 else error_answer(error)
            answer.headers.update(error.headers)
            await answer(scope, receive, noting)
        except Exception as error:  # noqa: BLE001  a client gets Salesforce's form whatever happens; the cause is printed
            traceback.print_exc()
            if status == 0:
                wrong = ApiError(500, "UNKNOWN_EXCEPTION", f"The emulator failed: {error}")
                await error_answer(wrong)(scope, receive, noting)
        if self._emulator.is_verbose:
            milliseconds = (time.monotonic() - started) * 1000
            query = scope["query_string"].decode("latin-1")
            is_secret = scope["path"].startswith("/services/oauth2")
            path = scope["path"] + (f"?{query}" if query and not is_secret else "")
            path = path.encode("unicode_escape").decode()  # one line, whatever the client wrote
            print(f"{scope['method']} {path} -> {status} in {milliseconds:.0f} ms", file=sys.stderr, flush=True)  # noqa: T201

    async def _with_faults(self, scope: Scope, receive: Receive, send: Send, *, is_api: bool) -> None:
        """Apply the fault rule that matches the request, if any."""
        is_admin = scope["path"].startswith("/_emulator")
        fault = None if is_admin else self._emulator.faults.strike(scope["method"], scope["path"])
        if fault is None:
            await self._pass(scope, receive, send, is_api=is_api)
            return
        cut: Callable[[], None] = scope.get("state", {}).get("abort", lambda: None)
        refused = ApiError(fault.status, fault.code, fault.message, headers=fault.headers)
        if fault.action == "status":
            raise refused
        if planted := planted_answer(fault):
            await planted(scope, receive, send)
            return
        if fault.action == "cut_before":
            cut()
            raise ClientDisconnect
        if fault.action == "delay":
            await asyncio.sleep(fault.delay_s)
        if fault.action == "expire_tokens":
            self._emulator.tokens.expire_all()
        if fault.action in ("status_after", "cut_after"):
            await self._pass(scope, receive, _unheard, is_api=is_api)
            if fault.action == "status_after":
                raise refused
            cut()
            raise ClientDisconnect
        if fault.action == "cut_answer":
            await self._pass(scope, receive, _cut_short(send, fault.after_bytes, cut), is_api=is_api)
            return
        if fault.action == "cut_body":
            try:
                await self._pass(scope, _cutting(receive, fault.after_bytes), _unheard, is_api=is_api)
            finally:
                cut()
            raise ClientDisconnect
        await self._pass(scope, receive, send, is_api=is_api)

    async def _pass(self, scope: Scope, receive: Receive, send: Send, *, is_api: bool) -> None:
        if sum(len(name) + len(value) for name, value in scope["headers"]) > _MOST_HEADER_BYTES:
            raise ApiError(
                431, "REQUEST_HEADER_FIELDS_TOO_LARGE", f"Headers may have {_MOST_HEADER_BYTES} bytes at most"
            )
        if (moved_to := self._emulator.org.switches.moved_to) and not scope["path"].startswith("/_emulator"):
            answer = RedirectResponse(moved_to.rstrip("/") + scope["path"], 301)
            await answer(scope, receive, send)
            return
        request = Request(scope, receive)
        is_bulk_v1 = scope["path"].startswith(BULK_V1)
        if is_api or is_bulk_v1 or scope["path"].startswith(_WITH_SESSION):
            self._admit(request, scope)
        if is_api or is_bulk_v1:
            version = _VERSION.match(scope["path"])
            oldest = OLDEST_BULK_V1_VERSION if is_bulk_v1 else self._emulator.org.switches.oldest_api_version
            if version is None or float(version[1]) > NEWEST_VERSION:
                raise not_found()
            if float(version[1]) < oldest:
                raise _retired(version[1], is_bulk_v1=is_bulk_v1)
        user_id = scope.get("state", {}).get("user_id")
        with acting_as(user_id, is_tooling="/tooling/" in scope["path"]) if user_id else nullcontext():
            await self._app(scope, receive, send)

    def _admit(self, request: Request, scope: Scope) -> None:
        """The session that came with the request, in either header and spelling."""
        org = self._emulator.org
        if (session := request.headers.get("x-sfdc-session")) and scope["path"].startswith(BULK_V1):
            scheme, value = "bearer", session
        else:
            scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() not in ("bearer", "oauth") or not value:
            raise ApiError(401, "INVALID_AUTH_HEADER" if scheme else "INVALID_SESSION_ID", "Session expired or invalid")
        user_id = self._emulator.tokens.check(value.strip()).user_id
        scope.setdefault("state", {})["user_id"] = user_id
        if not org.access.permissions_of(user_id).api_enabled:
            raise ApiError(403, "API_DISABLED_FOR_ORG", "The REST API is not enabled for this Organization.")
        if org.api_requests.used >= org.switches.daily_api_requests:
            raise ApiError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        org.api_requests.add(1)

    def _usage(self) -> str:
        org = self._emulator.org
        return f"api-usage={org.api_requests.used}/{org.switches.daily_api_requests}"


def _retired(version: str, *, is_bulk_v1: bool) -> ApiError:
    """By "Salesforce Platform API Versions 21.0 through 30.0 Retirement" in Salesforce Help."""
    if is_bulk_v1:
        return ApiError(400, "InvalidVersion", f"API version {version} is retired")
    return ApiError(410, "UNSUPPORTED_API_VERSION", f"The requested API version {version} is retired.")


async def _unheard(message: Message) -> None:
    """Discards the response."""


def _cut_short(send: Send, after_bytes: int, cut: Callable[[], None]) -> Send:
    """A response whose connection breaks once `after_bytes` bytes of its body were sent."""
    left = after_bytes

    async def wrapped(message: Message) -> None:
        nonlocal left
        if message["type"] != "http.response.body":
            await send(message)
            return
        body = message.get("body", b"")
        await send({"type": "http.response.body", "body": body[:left], "more_body": True})
        left -= len(body)
        if left <= 0:
            await asyncio.sleep(_FLUSH_S)
            cut()
            raise ClientDisconnect

    return wrapped


def _cutting(receive: Receive, after_bytes: int) -> Receive:
    """A request body that ends with an error after `after_bytes` bytes."""
    seen = 0

    async def wrapped() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if message["type"] == "http.request" and seen >= after_bytes:
            return {"type": "http.disconnect"}
        return message

    return wrapped
