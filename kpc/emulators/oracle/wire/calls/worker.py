"""The thread that runs all calls of a session, while the connection's own thread watches the socket."""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from kpc.emulators.oracle.wire.transport.packets import BreakRequested, Marker, PacketChannel, PeerClosed

T = TypeVar("T")
_QUICK_S = 0.003  # most calls end before watching the socket would pay
_INTERRUPT_AGAIN_S = 0.2
_LAST_CALL_S = 5.0


class SessionWorker:
    """Runs calls one after the other. `interrupt` makes the running one fail with ORA-01013.

    The thread is a daemon: a call that cannot be interrupted must not keep the process alive.
    """

    def __init__(self, channel: PacketChannel, interrupt: Callable[[], None], name: str) -> None:
        self._channel = channel
        self._interrupt = interrupt
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"{name} session", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def make_call() -> None:
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - raised again where the result is awaited
                future.set_exception(error)
            else:
                future.set_result(result)

        self._calls.put(make_call)
        return future

    def run(self, call: Callable[[], T]) -> T:
        return self.wait(self.submit(call))

    def wait(self, future: Future[T]) -> T:
        """The call's result. Raises `BreakRequested` or `PeerClosed` after the call was interrupted and has ended."""
        done, _ = wait([future], timeout=_QUICK_S)
        if not done:
            self._watch(future)
        return future.result()

    def _watch(self, future: Future[T]) -> None:
        """Wait for the call and for the client at the same time."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            future.add_done_callback(lambda _: _signal(theirs))
            poller = select.poll()
            poller.register(ours, select.POLLIN)
            poller.register(self._channel, select.POLLIN)
            while not future.done():
                ready = {fd for fd, _ in poller.poll()}
                if self._channel.fileno() not in ready:
                    continue
                try:
                    if not self._channel.poll():
                        poller.unregister(self._channel)
                except PeerClosed:
                    self._stop(future)
                    raise
                if self._channel.has_marker():
                    self._stop(future)
                    raise BreakRequested(Marker.INTERRUPT)
            wait([future])

    def _stop(self, future: Future[T]) -> None:
        """Interrupt the call and wait for its end; a call that had not begun is repeatedly told."""
        while not future.done():
            self._interrupt()
            wait([future], timeout=_INTERRUPT_AGAIN_S)

    def close(self, last_call: Callable[[], None]) -> None:
        """Make one last call and end the thread."""
        self.submit(last_call)
        self._calls.put(None)
        self._thread.join(_LAST_CALL_S)


def _signal(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the waiter may have seen the end already and closed its side
        sock.send(b"\x00")
