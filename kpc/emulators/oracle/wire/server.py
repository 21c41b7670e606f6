"""The listener: one thread accepts, one thread serves each connection."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from kpc.emulators.oracle.control import Control
from kpc.emulators.oracle.interface import ServedDatabase
from kpc.emulators.oracle.wire.connection import ClientConnection
from kpc.emulators.oracle.wire.login.logon import ListenerOptions

log = logging.getLogger(__name__)

_BACKLOG = 128
_JOIN_S = 5.0


class Listener:
    """A listening emulator, for the services of one or more databases.

    `start` returns once connections are accepted; `stop` ends every session.
    """

    def __init__(
        self,
        database: ServedDatabase,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        options: ListenerOptions | None = None,
        control: Control | None = None,
        others: Sequence[ServedDatabase] = (),
    ) -> None:
        self._databases = (database, *others)
        self._control = control or Control()
        self._options = options or ListenerOptions()
        self._address = (host, port)
        self._listener: socket.socket | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._sockets: dict[threading.Thread, socket.socket] = {}
        self._acceptor = threading.Thread(target=self._accept, name="oracle listener", daemon=True)

    @property
    def port(self) -> int:
        return self._address[1]

    def start(self) -> int:
        """Bind, listen and accept; the port."""
        self._listener = socket.create_server(self._address, backlog=_BACKLOG)
        self._address = self._listener.getsockname()[:2]
        self._acceptor.start()
        return self.port

    def _accept(self) -> None:
        assert self._listener is not None  # noqa: S101 - `start` has bound it
        while not self._stopping.is_set():
            try:
                sock, peer = self._listener.accept()
            except OSError:
                return
            self._serve(sock, f"{peer[0]}:{peer[1]}")

    def _serve(self, sock: socket.socket, peer: str) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        thread = threading.Thread(target=self._run, args=(sock, peer), name=f"oracle {peer}", daemon=True)
        with self._lock:
            if len(self._sockets) >= self._options.max_connections or self._stopping.is_set():
                log.warning("%s turned away: %d connections are open", peer, len(self._sockets))
                sock.close()
                return
            self._sockets[thread] = sock
        thread.start()

    def _run(self, sock: socket.socket, peer: str) -> None:
        try:
            ClientConnection(sock, peer, self._databases, self._options, self._control).serve()
        finally:
            with self._lock:
                self._sockets.pop(threading.current_thread(), None)

    def stop(self) -> None:
        """End the listener and every connection, and wait for their threads, each of which closes its own socket."""
        self._stopping.set()
        if self._listener is not None:
            _shut(self._listener)
            self._listener.close()
        self.end_sessions()
        if self._acceptor.is_alive():
            self._acceptor.join(_JOIN_S)

    def end_sessions(self) -> None:
        """End every connection, and wait for their threads. The listener goes on."""
        with self._lock:
            open_sockets = dict(self._sockets)
        for sock in open_sockets.values():
            _shut(sock)
        for thread in open_sockets:
            thread.join(_JOIN_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        log.debug("socket was closed already")


def serve(
    database: ServedDatabase,
    *,
    stop: threading.Event,
    host: str = "127.0.0.1",
    port: int = 0,
    options: ListenerOptions | None = None,
    control: Control | None = None,
    others: Sequence[ServedDatabase] = (),
    on_ready: Callable[[int], None] | None = None,
) -> None:
    """Serve until `stop` is set; `on_ready` gets the port once connections are accepted."""
    control = control or Control()
    with Listener(database, host=host, port=port, options=options, control=control, others=others) as server:
        control.end_sessions = server.end_sessions
        if on_ready is not None:
            on_ready(server.port)
        stop.wait()
