"""Server processes that always end with the program that started them.

    program --socket--> keeper --parent of--> server, server, ...

The keeper is a small process in its own session (Ctrl-C does not reach it). It starts the servers and adopts their
orphaned children. When its socket closes, because the program closed it, crashed or was killed, the keeper ends every
descendant by process id and then exits. If the keeper is killed, the kernel ends the servers (Linux).
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil  # type: ignore[import-untyped]

from kpc.errors import ConfigError, Terminal

log = logging.getLogger(__name__)

_CLOSE_TIMEOUT_S = 60.0
_MOST_RESTARTS = 5  # of a server within
_RESTARTS_WITHIN_S = 60.0
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


@dataclass(slots=True)
class _Request:
    """How a server is started, and when it was."""

    name: str
    log: Path
    wanted: dict[str, Any]
    is_restarted: bool
    began_s: list[float] = field(default_factory=list)

    def may_restart(self) -> bool:
        """Whether it may be started again, and has not just ended several times at its start."""
        now = time.monotonic()
        self.began_s = [*self.began_s[1 - _MOST_RESTARTS :], now]
        is_looping = len(self.began_s) == _MOST_RESTARTS and now - self.began_s[0] < _RESTARTS_WITHIN_S
        return self.is_restarted and not is_looping


class Keeper:
    """Starts servers, and ends them all when it is closed or this process ends."""

    def __init__(self) -> None:
        mine, theirs = socket.socketpair()
        self._process = subprocess.Popen(  # noqa: S603  our own command line
            [sys.executable, "-m", "kpc.kept_servers", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            env=python_env(),
        )
        theirs.close()
        self._socket = mine
        self._replies = mine.makefile("r")
        self.servers: dict[str, Server] = {}
        self._requests: dict[str, _Request] = {}  # by name, also of servers that were stopped

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
        is_restarted: bool = False,
    ) -> Server:
        """Start a server; its output goes to `log`. Raises `ConfigError` if the command cannot be run.

        `user` is a numeric user id to run as; the folder `temporary` is removed after the last server has ended. With
        `is_restarted`, `check` starts it again when it has ended, as a service manager does.
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
        return self._start(_Request(name, log, wanted, is_restarted))

    def restart(self, name: str) -> Server:
        """Start a server again that was stopped or has ended, with the same command."""
        return self._start(self._requests[name])

    def begin_stop(self, name: str, number: signal.Signals | None = None) -> Server:
        """Send a server its stop signal; by SIGKILL all its descendants end too, as when a machine is lost.

        `check` no longer asks for it. Its `exit_code` tells when it has ended.
        """
        server = self.servers.pop(name)
        number = number or signal.Signals(self._requests[name].wanted["stop_signal"])
        for process in process_tree(server.pid) if number == signal.SIGKILL else process_tree(server.pid)[:1]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        return server

    def stop(self, name: str, number: signal.Signals | None = None, *, timeout_s: float = 60.0) -> None:
        """`begin_stop`, and wait. Raises `Terminal` if the server has not ended after `timeout_s`."""
        server = self.begin_stop(name, number)
        until = time.monotonic() + timeout_s
        while self.exit_code(server) is None:
            if time.monotonic() > until:
                raise Terminal(f"{name} has not ended {timeout_s:.0f} s after its signal.", f"See {server.log}.")
            time.sleep(0.05)

    def freeze(self, name: str, *, is_frozen: bool = True) -> None:
        """Stop a server and its descendants in their tracks (SIGSTOP), or let them go on (SIGCONT)."""
        for process in process_tree(self.servers[name].pid):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP if is_frozen else signal.SIGCONT)

    def _start(self, request: _Request) -> Server:
        reply = self._ask({"start": request.wanted})
        if "error" in reply:
            command = request.wanted["command"][0]
            raise ConfigError(f"{request.name} could not be started: {reply['error']}.", f"The command was {command}.")
        server = Server(request.name, reply["pid"], request.log)
        self.servers[request.name] = server
        self._requests[request.name] = request
        return server

    def exit_code(self, server: Server) -> int | None:
        """None while the server runs; the negated signal number if a signal ended it."""
        code = self._ask({"exit_code": server.pid})["code"]
        return None if code is None else int(code)

    def check(self) -> None:
        """Start again what has ended and may be; raise `Terminal` with the last lines of output for any other server.

        A server that ended within seconds of its start, several times in a row, is not started once more.
        """
        for server in list(self.servers.values()):
            if (code := self.exit_code(server)) is None:
                continue
            request = self._requests[server.name]
            if not request.may_restart():
                raise Terminal(
                    f"{server.name} ended with code {code}. Its last lines:\n{server.tail()}",
                    f"The full log is in {server.log}.",
                )
            log.warning("%s ended with code %s and is started again; its log is %s", server.name, code, server.log)
            self._start(request)

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
        self._process.wait(timeout=_CLOSE_TIMEOUT_S)

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


def process_tree(pid: int) -> list[psutil.Process]:
    """A process and its descendants, parents first; empty if it has ended."""
    """A process and its descendants; empty if it has ended."""
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def _tree_cpu_s(pid: int) -> float:
    total = 0.0
    for process in process_tree(pid):
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])  # user, system, and those of children it has waited for
    return total
