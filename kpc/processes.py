"""Server processes that always end with the program that started them.

    program --socket--> keeper --parent of--> server, server, ...

The keeper is a small process in its own session (Ctrl-C does not reach it). It starts the servers and adopts their
orphaned children. When its socket closes, because the program closed it, crashed or was killed, the keeper ends every
descendant by process id and then exits. If the keeper is killed, the kernel ends the servers (Linux).
"""

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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil  # type: ignore[import-untyped]

from kpc.errors import ConfigError, Terminal

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the keeper ends only when its socket closes
_GRACE_S = 6.0
_ORPHANS_GRACE_S = 2.0
_LOOP_S = 0.25
_TAIL_LINES = 12


def python_env() -> dict[str, str]:
    """This process's environment, with a PYTHONPATH that includes this project.

    Bytecode caching is enabled; without it, each of hundreds of task processes would recompile its libraries.
    """
    root = str(Path(__file__).resolve().parents[1])
    others = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys([*others, root]))}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return env


@dataclass(frozen=True, slots=True)
class Server:
    """A started process. `log` receives its output."""

    name: str
    pid: int
    log: Path

    def tail(self) -> str:
        """The last lines of its output."""
        with suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
        return ""


class Keeper:
    """Starts servers, and ends them all when it is closed or this process ends."""

    def __init__(self) -> None:
        mine, theirs = socket.socketpair()
        self._process = subprocess.Popen(  # noqa: S603  our own command line
            [sys.executable, "-m", "kpc.processes", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            env=python_env(),
        )
        theirs.close()
        self._socket = mine
        self._replies = mine.makefile("r")
        self.servers: dict[str, Server] = {}

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        user: int | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        temporary: Path | None = None,
    ) -> Server:
        """Start a server; its output goes to `log`. Raises `ConfigError` if the command cannot be run.

        `user` is a numeric user id to run as; the folder `temporary` is removed after the server has ended.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        wanted = {
            "command": [str(part) for part in command],
            "log": str(log),
            "env": dict(python_env() if env is None else env),
            "user": user,
            "stop_signal": int(stop_signal),
            "temporary": None if temporary is None else str(temporary),
        }
        reply = self._ask({"start": wanted})
        if "error" in reply:
            raise ConfigError(f"{name} could not be started: {reply['error']}.", f"The command was {command[0]}.")
        server = Server(name, reply["pid"], log)
        self.servers[name] = server
        return server

    def exit_code(self, server: Server) -> int | None:
        """None while the server runs; the negated signal number if a signal ended it."""
        code = self._ask({"exit_code": server.pid})["code"]
        return None if code is None else int(code)

    def check(self) -> None:
        """Raise `Terminal` with the last lines of output if a server has ended."""
        for server in self.servers.values():
            if (code := self.exit_code(server)) is not None:
                raise Terminal(
                    f"{server.name} ended with code {code}. Its last lines:\n{server.tail()}",
                    f"The full log is in {server.log}.",
                )

    def wait_for(self, server: Server, is_ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait until `is_ready()`. Raises `Terminal` if the server ends first, or after `timeout_s`."""
        until = time.monotonic() + timeout_s
        while not is_ready():
            self.check()
            if time.monotonic() > until:
                raise Terminal(
                    f"{server.name} was not ready after {timeout_s:.0f} s. Its last lines:\n{server.tail()}",
                    f"The full log is in {server.log}.",
                )
            time.sleep(0.05)

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds of each server and all its descendants, including those that have ended."""
        return {name: _tree_cpu_s(server.pid) for name, server in self.servers.items()}

    def close(self) -> None:
        """End every server. May be called twice."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._process.wait(timeout=10 * _GRACE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            line = self._replies.readline()
        except OSError:
            line = ""
        if not line:
            raise Terminal("The process that keeps the servers has ended.", "Start again; nothing else is lost.")
        reply: dict[str, Any] = json.loads(line)
        return reply


def _tree_cpu_s(pid: int) -> float:
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])  # user, system, and those of children it has waited for
    return total


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
