"""Airflow's REST API without a network: for code that runs inside of the api-server itself, on behalf of a user."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio.from_thread
import httpx


class InProcessTransport(httpx.BaseTransport):
    """Hands requests to an ASGI application in this process.

    To be used from a worker thread of the event loop that serves the application, as FastAPI's synchronous endpoints
    are: the loop runs the application while the thread waits.
    """

    def __init__(self, app: Any, client: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        """`client` is the address of whom the request is made for, as the application's log shows it."""
        self._transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=client)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        status, headers, content = anyio.from_thread.run(partial(self._exchange, request, body))
        # Airflow may have compressed the content, and `content` is what it was before.
        kept = [
            (name, value) for name, value in headers if name.lower() not in (b"content-encoding", b"content-length")
        ]
        return httpx.Response(status, headers=kept, content=content)

    async def _exchange(self, request: httpx.Request, body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        asked = httpx.Request(request.method, request.url, headers=request.headers.raw, content=body)
        answer = await self._transport.handle_async_request(asked)
        content = await answer.aread()
        return answer.status_code, answer.headers.raw, content
