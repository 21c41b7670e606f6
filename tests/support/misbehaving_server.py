"""A local HTTP server that answers what a test tells it to, byte for byte, and remembers what it was sent."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr

from kpc.settings import SalesforceSettings

ORG, USER, TOKEN = "00D5g0000000001EAA", "0055g0000000001AAA", "00D5g0000000001!secret.token"
JOB, RECORD = "7505g00000000AbAAA", "a005g00000000AbAAA"
DATA = "/services/data/v62.0"
JOB_ANSWER = {
    "id": JOB,
    "state": "JobComplete",
    "object": "KPS_PosSupplier__c",
    "operation": "upsert",
    "createdById": USER,
    "createdDate": "2024-05-01T12:00:00.000+0000",
    "numberRecordsProcessed": 3,
    "numberRecordsFailed": 0,
}


@dataclass
class Planned:
    """What is answered to requests that match `METHOD path`: at most `times` of them, or all."""

    pattern: str
    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    times: int = -1
    cut: bool = False  # announce one byte more than is sent


@dataclass
class MisbehavingServer:
    """`received` are requests as `METHOD path`, with their headers; `moments` when each came, in seconds."""

    url: str
    plans: list[Planned] = field(default_factory=list)
    received: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)

    @property
    def settings(self) -> SalesforceSettings:
        return SalesforceSettings(
            base_url=self.url, client_id="id", client_secret=SecretStr("secret"), read_timeout_s=5, poll_first_s=0.01
        )

    @property
    def asked(self) -> list[str]:
        return [request for request, _ in self.received]

    def plan(self, pattern: str, body: object, status: int = 200, **more: Any) -> None:
        """Answer `body`, bytes or something to send as JSON; later plans come first."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.plans.insert(0, Planned(pattern, content, status, **more))

    def log_in_with(self, **changes: object) -> None:
        """Answer the log-in, with these changes to a right answer."""
        right = {"access_token": TOKEN, "instance_url": self.url, "id": f"{self.url}/id/{ORG}/{USER}"}
        self.plan("POST /services/oauth2/token", right | changes)

    def answer_to(self, request: str) -> Planned:
        for plan in self.plans:
            if plan.times and re.search(plan.pattern, request):
                plan.times -= plan.times > 0
                return plan
        return Planned("", b'[{"errorCode":"NOT_FOUND","message":"nothing was planned"}]', 404)


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are part of the tests."""


@contextmanager
def misbehaving_server() -> Iterator[MisbehavingServer]:
    """A running server, whose log-in is answered rightly."""
    server = _Quiet(("127.0.0.1", 0), BaseHTTPRequestHandler)
    made = MisbehavingServer(f"http://127.0.0.1:{server.server_address[1]}")
    made.log_in_with()
    server.RequestHandlerClass = _handler_of(made)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


def _handler_of(made: MisbehavingServer) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            request = f"{self.command} {self.path}"
            made.received.append((request, {name.lower(): text for name, text in self.headers.items()}))
            made.moments.append(time.monotonic())
            plan = made.answer_to(request)
            self.send_response_only(plan.status)
            headers = {"Content-Type": "application/json", "Content-Length": str(len(plan.body) + plan.cut)}
            for name, text in (headers | plan.headers).items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(plan.body)
            if plan.cut:
                self.close_connection = True

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815  as http.server calls them

        def log_message(self, *_: object) -> None:
            """Nothing: tests look at `received`."""

    return Handler
