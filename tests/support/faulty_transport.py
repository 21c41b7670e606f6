"""The real network with losses: requests that never leave, replies that never arrive, and a process that dies."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

Act = Callable[[httpx.Request], httpx.Response | None]


def is_killed(_: httpx.Request) -> None:
    """The process ends here, as by a power cut."""
    os.kill(os.getpid(), signal.SIGKILL)


def is_lost(request: httpx.Request) -> None:
    raise httpx.ReadError("connection reset", request=request)


def is_refused(request: httpx.Request) -> None:
    raise httpx.ConnectError("connection refused", request=request)


def answers(status: int, code: str) -> Act:
    """An answer in place of the org's."""
    body = [{"errorCode": code, "message": "planted"}]
    return lambda request: httpx.Response(status, json=body, request=request)


@dataclass
class Fault:
    """What happens to the `first`th to `last`th request that matches `METHOD path`, before or after the org sees it."""

    pattern: str
    act: Act
    after: bool = False
    first: int = 1
    last: int = 1
    seen: int = 0

    def meets(self, request: httpx.Request) -> bool:
        if not re.search(self.pattern, f"{request.method} {request.url.path}"):
            return False
        self.seen += 1
        return self.first <= self.seen <= self.last


@dataclass
class FaultyTransport(httpx.BaseTransport):
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.network = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(f"{request.method} {request.url.path}")
        met = [fault for fault in self.faults if fault.meets(request)]
        for fault in met:
            if not fault.after and (planted := fault.act(request)) is not None:
                return planted
        response = self.network.handle_request(request)
        for fault in met:
            if fault.after:
                response.read()
                if (planted := fault.act(request)) is not None:
                    return planted
        return response

    def close(self) -> None:
        self.network.close()
