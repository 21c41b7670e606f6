"""The admin channel: faults, counters and statements as JSON over HTTP, and SQL with every privilege.

Oracle has none of this. The address holds a secret, so that no other program on the machine can
use the channel by guessing its port.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Protocol, Self

from kpc.emulators.errors import OptionError
from kpc.emulators.oracle.control import Control
from kpc.emulators.oracle.interface import OraError

log = logging.getLogger(__name__)

_MAX_BODY_BYTES = 1 << 20
Reply = tuple[HTTPStatus, object]


class AdminDatabase(Protocol):
    """What the admin channel needs of a database besides `interface.ServedDatabase`."""

    def rows_scanned(self) -> dict[str, int]: ...

    def forget_scans(self) -> None: ...

    def run_as_dba(self, sql: str, schema: str | None = None) -> int: ...

    def change_facts(self, wanted: dict[str, Any]) -> dict[str, Any]: ...

    def expire_undo(self) -> None: ...

    def open_resetlogs(self) -> None: ...


class AdminChannel:
    """Listens on its own port on 127.0.0.1 while the context is open."""

    def __init__(self, control: Control, database: AdminDatabase, host: str = "127.0.0.1") -> None:
        self._control = control
        self._database = database
        self._secret = secrets.token_urlsafe(18)
        channel = self

        class BoundHandler(_Handler):
            answer = staticmethod(channel.answer)

        self._server = ThreadingHTTPServer((host, 0), BoundHandler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="oracle admin", daemon=True)

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/{self._secret}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: Any) -> Reply:
        """Handle one request; errors are returned as replies."""
        secret, _, rest = path.strip("/").partition("/")
        if not secrets.compare_digest(secret.encode(), self._secret.encode()):
            return HTTPStatus.NOT_FOUND, {"error": "not found"}
        name, _, number = rest.partition("/")
        routes: dict[tuple[str, str], Callable[[], object]] = {
            ("GET", "faults"): self._control.faults.as_list,
            ("POST", "faults"): lambda: {"ids": [self._control.faults.add(each) for each in _listed(body)]},
            ("DELETE", "faults"): lambda: {"removed": self._control.faults.remove(int(number) if number else None)},
            ("GET", "counters"): self._counters,
            ("DELETE", "counters"): self._reset,
            ("GET", "statements"): self._control.counters.statements,
            ("POST", "sql"): lambda: {"rows": self._database.run_as_dba(str(body["sql"]), body.get("schema"))},
            ("POST", "instance"): lambda: self._database.change_facts(body),
            ("POST", "expire_undo"): self._expire_undo,
            ("POST", "failover"): self._fail_over,
        }
        route = routes.get((method, name))
        if route is None:
            return HTTPStatus.NOT_FOUND, {"error": f"no {method} {name}", "routes": [" ".join(key) for key in routes]}
        try:
            return HTTPStatus.OK, route()
        except OraError as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error), "code": error.code}
        except (OptionError, ValueError, KeyError, TypeError, AttributeError) as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error)}

    def _counters(self) -> dict[str, object]:
        return {**self._control.counters.as_dict(), "rows_scanned": self._database.rows_scanned()}

    def _reset(self) -> dict[str, object]:
        self._control.counters.reset()
        self._database.forget_scans()
        return self._counters()

    def _expire_undo(self) -> dict[str, object]:
        self._database.expire_undo()
        return {}

    def _fail_over(self) -> dict[str, object]:
        """Open a new incarnation; every session of the former one ends."""
        self._database.open_resetlogs()
        self._control.end_sessions()
        return {}


def _listed(body: Any) -> list[dict[str, Any]]:
    rules = body if isinstance(body, list) else [body]
    if not all(isinstance(rule, dict) for rule in rules):
        raise OptionError("A fault is a JSON object.", "See docs/oracle-emulator.md.")
    return rules


class _Handler(BaseHTTPRequestHandler):
    """Handles HTTP requests and replies with JSON."""

    answer: Callable[[str, str, Any], Reply]
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if size > _MAX_BODY_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            self.close_connection = True
            return
        try:
            body = json.loads(self.rfile.read(size) or b"{}")
            status, reply = self.answer(self.command, self.path, body)
        except ValueError as error:
            status, reply = HTTPStatus.BAD_REQUEST, {"error": f"not JSON: {error}"}
        except Exception as error:
            log.exception("the admin channel failed")
            status, reply = HTTPStatus.INTERNAL_SERVER_ERROR, {"error": repr(error)}
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the standard library gave it
        log.debug(format, *args)
