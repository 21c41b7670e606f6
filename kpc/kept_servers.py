"""The keeper process of `kpc.processes`: the parent of all servers, which ends them when its socket closes."""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the keeper ends only when its socket closes
_GRACE_S = 6.0
_ORPHANS_GRACE_S = 2.0
_LOOP_S = 0.25


class _KeptServers:
    """The servers as the keeper process holds them."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.stop_signals: dict[int, int] = {}  # by server pid, in start order
        self.temporary: list[str] = []
        self.exit_codes: dict[int, int] = {}

    def serve(self) -> None:
        """Answer requests until the other end closes."""
        pending = b""
        while True:
            ready, _, _ = select.select([self.connection], [], [], _LOOP_S)
            self.reap()
            if not ready:
                continue
            try:
                block = self.connection.recv(1 << 16)
            except OSError:
                return
            if not block:
                return
            *lines, pending = (pending + block).split(b"\n")
            for line in lines:
                self.connection.sendall(json.dumps(self.answer(json.loads(line))).encode() + b"\n")

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if "start" in request:
            return self.start(**request["start"])
        self.reap()
        return {"code": self.exit_codes.get(request["exit_code"])}

    def start(
        self,
        *,
        command: list[str],
        log: str,
        env: dict[str, str],
        user: int | None,
        stop_signal: int,
        temporary: str | None,
    ) -> dict[str, Any]:
        if temporary is not None:
            self.temporary.append(temporary)
        try:
            with Path(log).open("ab") as output:
                # The keeper has one thread, so running code between fork and exec is safe.
                process = subprocess.Popen(  # noqa: S603  the program that started the keeper chose the command
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=env,
                    user=user,
                    group=None if user is None else pwd.getpwuid(user).pw_gid,
                    extra_groups=None if user is None else [],
                    start_new_session=True,
                    preexec_fn=_die_with_parent,  # noqa: PLW1509  see above
                )
        except OSError as error:
            return {"error": str(error)}
        self.stop_signals[process.pid] = stop_signal
        process.returncode = 0  # `reap` collects the process; otherwise Popen would warn
        return {"pid": process.pid}

    def reap(self) -> None:
        """Collect every ended child, including adopted ones."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self.exit_codes[pid] = os.waitstatus_to_exitcode(status)

    def end_all(self) -> None:
        """Stop the servers, newest first, then their orphaned children; kill any that remain."""
        for pid, stop_signal in reversed(self.stop_signals.items()):
            if pid not in self.exit_codes:
                _send(pid, stop_signal)
        self._wait(_GRACE_S, lambda: self.stop_signals.keys() <= self.exit_codes.keys())
        for process in _descendants():
            _send(process.pid, signal.SIGTERM)
        self._wait(_ORPHANS_GRACE_S, lambda: not _descendants())
        for _ in range(5):  # a killed process may have started new children in the meantime
            for process in _descendants():
                _send(process.pid, signal.SIGKILL)
            self._wait(1.0, lambda: not _descendants())
        for folder in self.temporary:
            shutil.rmtree(folder, ignore_errors=True)

    def _wait(self, seconds: float, is_over: Callable[[], bool]) -> None:
        until = time.monotonic() + seconds
        while True:
            self.reap()
            if is_over() or time.monotonic() > until:
                return
            time.sleep(0.05)


def _descendants() -> list[psutil.Process]:
    return list(psutil.Process().children(recursive=True))


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _die_with_parent() -> None:
    for number in _IGNORED:  # otherwise the server would inherit the ignored signals
        signal.signal(number, signal.SIG_DFL)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _keep(descriptor: int) -> None:
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    kept = _KeptServers(socket.socket(fileno=descriptor))
    try:
        kept.serve()
    finally:
        kept.end_all()


if __name__ == "__main__":
    _keep(int(sys.argv[1]))
