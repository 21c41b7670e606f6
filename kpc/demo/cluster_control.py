"""Stopping, killing, pausing and starting parts of a running cluster, from another terminal.

The command that runs the cluster writes what it runs to `<folder>/cluster.json`; a part with a file in
`<folder>/stopped` is not started again, and a file in `<folder>/added` describes one more worker. Nothing else is
exchanged.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from kpc.demo.airflow import Worker
from kpc.demo.servers import World
from kpc.errors import ConfigError, Terminal
from kpc.processes import Server, process_tree
from kpc.stages.names import QUEUES

_STATE = "cluster.json"
_STOPPED = "stopped"
_ADDED = "added"
_TIMEOUT_S = 120.0
_LOOK_S = 0.2
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True, slots=True)
class Part:
    """A process of the cluster. `pid` is None while it does not run; `queues` is empty for what is no worker."""

    name: str
    pid: int | None
    queues: str
    log: str

    @property
    def state(self) -> str:
        """running, paused or stopped."""
        with suppress(psutil.NoSuchProcess):
            if self.pid is not None:
                return "paused" if psutil.Process(self.pid).status() == psutil.STATUS_STOPPED else "running"
        return "stopped"


class RunningCluster:
    """The side that runs the cluster: writes the list of parts, and does what the files ask for."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._queues = {
            worker.name: ",".join(worker.queues) for worker in (world.cluster.workers if world.cluster else ())
        }
        self._logs: dict[str, Path] = {}
        self._ending: dict[str, Server] = {}
        self._written = ""
        for name in (_STOPPED, _ADDED):
            (world.folder / name).mkdir()

    def look(self) -> None:
        """Stop, start and add what is asked for, start again what has ended, and write the list."""
        keeper, folder = self._world.keeper, self._world.folder
        for file in (folder / _ADDED).glob("*.json"):
            worker = Worker(file.stem, **json.loads(file.read_text(encoding="utf-8")))
            if worker.name not in self._queues:
                self._queues[worker.name] = ",".join(worker.queues)
                self._world.airflow.start_worker(keeper, worker)
        self._logs |= {name: server.log for name, server in keeper.servers.items()}
        self._ending = {name: server for name, server in self._ending.items() if keeper.exit_code(server) is None}
        for name in self._logs:
            is_unwanted = (folder / _STOPPED / name).exists()
            if is_unwanted and name in keeper.servers:
                self._ending[name] = keeper.begin_stop(name)
            elif not is_unwanted and name not in keeper.servers and name not in self._ending:
                keeper.restart(name)
        keeper.check()
        self._write()

    def _write(self) -> None:
        servers = self._world.keeper.servers | self._ending
        parts = [
            Part(name, servers[name].pid if name in servers else None, self._queues.get(name, ""), str(log))
            for name, log in self._logs.items()
        ]
        text = json.dumps([asdict(part) for part in parts])
        if text != self._written:
            _write(self._world.folder / _STATE, text)
            self._written = text


class ClusterControl:
    """The side that asks. Raises `ConfigError` where no cluster runs in the folder, or for a name that is not in it."""

    def __init__(self, work_dir: Path) -> None:
        self._folder = work_dir.resolve() / "run"
        if not (self._folder / _STATE).exists():
            raise ConfigError(
                f"No cluster runs in {work_dir}.", "Start one with `kpc cluster up`, or give its --work-dir."
            )

    def parts(self) -> list[Part]:
        return [Part(**part) for part in json.loads((self._folder / _STATE).read_text(encoding="utf-8"))]

    def find(self, name: str) -> Part:
        for part in self.parts():
            if part.name == name:
                return part
        names = ", ".join(part.name for part in self.parts())
        raise ConfigError(f"The cluster has no {name!r}.", f"It has {names}.")

    def stop(self, name: str) -> None:
        """End a part in order; a worker first finishes its tasks. It stays stopped until `start`."""
        part = self.find(name)
        (self._folder / _STOPPED / name).touch()
        self._until(lambda: self.find(name).pid is None, f"{name} has not stopped", part)

    def kill(self, name: str) -> None:
        """End a part and all its processes at once (SIGKILL), as when its machine is lost."""
        part = self.find(name)
        (self._folder / _STOPPED / name).touch()
        self._signal(part, signal.SIGKILL)
        self._until(lambda: self.find(name).pid is None, f"{name} has not stopped", part)

    def start(self, name: str) -> None:
        """Start a part that was stopped or killed."""
        part = self.find(name)
        (self._folder / _STOPPED / name).unlink(missing_ok=True)
        self._until(lambda: self.find(name).pid is not None, f"{name} has not started", part)

    def pause(self, name: str) -> None:
        """Freeze a part and all its processes (SIGSTOP), as when its machine hangs."""
        part = self.find(name)
        self._signal(part, signal.SIGSTOP)
        self._until(lambda: part.state == "paused", f"{name} is not paused", part)

    def resume(self, name: str) -> None:
        """Let a frozen part go on."""
        part = self.find(name)
        self._signal(part, signal.SIGCONT)
        self._until(lambda: part.state != "paused", f"{name} does not go on", part)

    def add_worker(self, name: str, queues: Sequence[str], concurrency: int) -> None:
        """Start one more worker. Raises `ConfigError` for a name that is taken or odd, and for an unknown queue."""
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r} is no name for a worker.", "Use small letters, digits and hyphens.")
        if any(part.name == name for part in self.parts()):
            raise ConfigError(
                f"The cluster already has a {name}.", f"Choose another name, or `kpc cluster start {name}`."
            )
        if unknown := [queue for queue in queues if queue not in QUEUES]:
            raise ConfigError(f"No task is sent to the queue {unknown[0]!r}.", f"The queues are {', '.join(QUEUES)}.")
        request = json.dumps({"queues": list(queues), "concurrency": concurrency})
        _write(self._folder / _ADDED / f"{name}.json", request)
        self._until(lambda: any(part.name == name for part in self.parts()), f"{name} has not started", None)

    def _signal(self, part: Part, number: signal.Signals) -> None:
        if part.pid is None:
            raise ConfigError(f"{part.name} does not run.", f"Start it with `kpc cluster start {part.name}`.")
        for process in process_tree(part.pid):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _until(self, is_done: Callable[[], bool], what: str, part: Part | None) -> None:
        until = time.monotonic() + _TIMEOUT_S
        while not is_done():
            if time.monotonic() > until:
                where = f"Its log is {part.log}." if part else f"The logs are in {self._folder / 'logs'}."
                raise Terminal(f"{what} after {_TIMEOUT_S:.0f} s.", where)
            time.sleep(_LOOK_S)


def _write(file: Path, text: str) -> None:
    """Write it so that no reader sees half of it."""
    new = file.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(file)
