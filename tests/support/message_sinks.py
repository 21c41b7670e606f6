"""Servers that take messages and keep them: SMTP, and HTTP for webhooks and Slack. One can be told to refuse."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Sink:
    """`received` are decoded messages in the order of their arrival; while `refuses`, none is taken."""

    port: int = 0
    received: list[dict[str, Any]] = field(default_factory=list)
    refuses: bool = False


@contextmanager
def http_sink() -> Iterator[Sink]:
    """Takes JSON by POST at any path; refuses with 503."""
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not sink.refuses:
                sink.received.append({"path": self.path, **json.loads(body)})
            self.send_response(503 if sink.refuses else 200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sink.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def smtp_sink() -> Iterator[Sink]:
    """Takes mail without log-in or TLS (RFC 5321, what a client needs to deliver); refuses with 451."""
    sink = Sink()
    with socket.create_server(("127.0.0.1", 0)) as server:
        sink.port = server.getsockname()[1]

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    threading.Thread(target=_converse, args=(client, sink), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield sink
        server.shutdown(socket.SHUT_RDWR)


def _converse(client: socket.socket, sink: Sink) -> None:
    with client, client.makefile("rwb") as stream, suppress(OSError):

        def say(text: str) -> None:
            stream.write(text.encode() + b"\r\n")
            stream.flush()

        say("220 sink")
        recipients: list[str] = []
        while line := stream.readline():
            verb = line[:4].upper()
            if verb == b"QUIT":
                say("221 bye")
                return
            if verb == b"RCPT":
                recipients.append(line.decode().partition(":")[2].strip().strip("<>"))
            if verb == b"DATA" and not sink.refuses:
                say("354 go on")
                sink.received.append({"to": recipients, **_mail(_data(stream))})
                recipients = []
            say("451 later" if sink.refuses and verb in (b"RCPT", b"DATA") else "250 ok")


def _data(stream: Any) -> bytes:
    lines = []
    while (line := stream.readline()) not in (b".\r\n", b""):
        lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
    return b"".join(lines)


def _mail(content: bytes) -> dict[str, Any]:
    mail = message_from_bytes(content, policy=policy.default)
    body = mail.get_body(("html", "plain"))
    return {"subject": str(mail["Subject"]), "from": str(mail["From"]), "body": body.get_content() if body else ""}
