"""In the browser, the reason of a refused trigger is shown, such as what is wrong with a partition key.

Airflow 3.3.2's pages replace the text of every answer whose status they have a name for: of a run that was refused
they show "Bad Request" alone. They show the whole answer of a status that they do not know. To every other client a
status is unknown that HTTP does not define, and counts as 400 (RFC 9110, section 15); so only pages get it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REFUSED_IN_BROWSER = 477  # defined by nobody
_UNREADABLE = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
_STARTS_RUNS = re.compile(r"/api/v2/(dags/[^/]+/dagRuns|assets/\d+/materialize|assets/events|backfills)/?")


class ShowReasons:
    """ASGI middleware of the API server, registered by `dags.plugin`."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_shown(message: Message) -> None:
            is_refused = message["type"] == "http.response.start" and message["status"] in _UNREADABLE
            await send({**message, "status": REFUSED_IN_BROWSER} if is_refused else message)

        await self._app(scope, receive, send_shown if _is_of_a_page(scope) else send)


def _is_of_a_page(scope: Scope) -> bool:
    """A request to start something, sent by a page: Airflow itself tells it by the same header."""
    if scope["type"] != "http" or scope["method"] != "POST" or not _STARTS_RUNS.search(scope["path"]):
        return False
    return any(name == b"referer" for name, _ in scope["headers"])
