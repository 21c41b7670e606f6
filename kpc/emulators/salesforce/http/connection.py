"""One client connection: HTTP, or as a proxy (CONNECT) a tunnel to the emulator's own TLS port.

With CONNECT a client whose host names are fixed (`login.salesforce.com`) reaches the emulator by HTTPS_PROXY alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_ALLOWED = ("salesforce.com", "force.com", "localhost", "127.0.0.1")
_MOST_HEAD_BYTES = 64 * 1024
_CONTINUE = b"HTTP/1.1 100 "
_SPELLINGS = {b"sforce-numberofrecords": b"Sforce-NumberOfRecords"}


class HttpConnection(HttpToolsProtocol):
    """uvicorn's protocol and CONNECT. `scope["state"]["abort"]` lets a fault cut the connection."""

    tls_port: int | None = None  # set by `tunnelling_to`
    _head: bytes | None = b""

    def data_received(self, data: bytes) -> None:
        if self._head is None:
            super().data_received(data)
            return
        self._head += data
        if not b"CONNECT ".startswith(self._head[:8]):
            data, self._head = self._head, None
            super().data_received(data)
        elif b"\r\n\r\n" in self._head:
            self._connect(self._head)
        elif len(self._head) > _MOST_HEAD_BYTES:
            self.transport.close()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.cycle is not None:  # its task begins only after this
            self.cycle.transport = cast("asyncio.Transport", _SpellingTransport(self.cycle.transport))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["abort"] = self.transport.abort

    def send_400_response(self, msg: str) -> None:
        """What cannot be read as HTTP is refused in the form of every other refusal."""
        body = json.dumps([{"message": msg, "errorCode": "BAD_REQUEST"}])
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.transport.write(f"{head}Connection: close\r\n\r\n{body}".encode())
        self.transport.close()

    def _connect(self, head: bytes) -> None:
        self._unset_keepalive_if_required()
        target = head.split(b" ", 2)[1].decode("latin-1")
        host = target.rpartition(":")[0].lower()
        if self.tls_port is None:
            self._refuse("501 Not Implemented", "The emulator was started without --tls.")
        elif not any(host == name or host.endswith("." + name) for name in _ALLOWED):
            self._refuse("403 Forbidden", "The emulator tunnels only to Salesforce host names.")
        else:
            self.transport.pause_reading()
            self.connections.discard(self)  # from here on it ends when the TLS side ends
            self._tunnel = self.loop.create_task(self._open(self.tls_port))  # kept, or it might be collected

    def _refuse(self, status: str, why: str) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(why)}\r\nConnection: close\r\n\r\n{why}"
        self.transport.write(head.encode())
        self.transport.close()

    async def _open(self, port: int) -> None:
        client = self.transport
        back, _ = await self.loop.create_connection(lambda: _Pipe(client), "127.0.0.1", port)
        client.set_protocol(_Pipe(back))
        client.write(b"HTTP/1.1 200 Connection Established\r\n\r\n")
        client.resume_reading()


class _SpellingTransport:
    """Passes on one answer, the header names in its head spelled as Salesforce does: `Content-Type`.

    ASGI knows them only in lower case. HTTP does not care, but some clients turn the headers into a plain dictionary.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._is_head_written = False

    def write(self, data: bytes) -> None:
        if not self._is_head_written and not data.startswith(_CONTINUE):
            self._is_head_written = True
            data = _spelled(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)


def _spelled(data: bytes) -> bytes:
    head, blank, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    for number, line in enumerate(lines[1:], 1):
        name, colon, value = line.partition(b":")
        lines[number] = _SPELLINGS.get(name, name.title()) + colon + value
    return b"\r\n".join(lines) + blank + body


class _Pipe(asyncio.Protocol):
    """Forwards what arrives, no faster than the receiver reads it."""

    def __init__(self, other: asyncio.Transport) -> None:
        self._other = other

    def data_received(self, data: bytes) -> None:
        if not self._other.is_closing():
            self._other.write(data)

    def pause_writing(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._other.pause_reading()

    def resume_writing(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        self._other.close()


def tunnelling_to(tls_port: int | None) -> type[HttpConnection]:
    """The protocol class of a server whose CONNECT leads to `tls_port`."""
    return cast("type[HttpConnection]", type("HttpConnection", (HttpConnection,), {"tls_port": tls_port}))
