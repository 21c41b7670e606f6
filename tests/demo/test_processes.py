"""What is started with the keeper ends with the program that started it, whichever way that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from kpc.errors import ConfigError, Terminal
from kpc.processes import Keeper, process_tree, python_env

SLEEP = [sys.executable, "-c", "import time; time.sleep(300)"]

# Starts a child in a session of its own, whose parent then ends: only a subreaper still knows it.
DAEMONIZE = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(300)
    os._exit(0)
time.sleep(300)
"""

# Ignores SIGTERM, as a server may that waits for its tasks.
STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").write("ready")
time.sleep(300)
"""

PROGRAM = """
import sys, time
from pathlib import Path
from kpc.processes import Keeper
folder = Path(sys.argv[1])
keeper = Keeper()
a = keeper.start("a", [sys.executable, "-c", sys.argv[2], folder / "daemon.pid"], log=folder / "a.log")
(folder / "server.pid").write_text(str(a.pid))
time.sleep(300)
"""


def wait_for(condition: object, seconds: float = 20.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def read_pid(file: Path) -> int:
    assert wait_for(lambda: file.exists() and file.read_text()), f"{file.name} was not written"
    return int(file.read_text())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killing_the_program_ends_servers_and_their_daemons(tmp_path: Path, number: signal.Signals) -> None:
    """A killed program leaves nothing behind, not even a daemon that left its parent's session."""
    program = subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path, DAEMONIZE], env=python_env())  # noqa: S603  ours
    server, daemon = read_pid(tmp_path / "server.pid"), read_pid(tmp_path / "daemon.pid")
    assert not is_gone(server)
    assert not is_gone(daemon)
    program.send_signal(number)
    program.wait(10)
    assert wait_for(lambda: is_gone(server) and is_gone(daemon))


def test_killing_the_keeper_ends_the_servers(tmp_path: Path) -> None:
    """The kernel ends the servers when the keeper itself is killed, and the program says so."""
    with pytest.raises(Terminal, match="keeps the servers has ended"), Keeper() as keeper:
        server = keeper.start("server", SLEEP, log=tmp_path / "log")
        os.kill(psutil.Process(server.pid).ppid(), signal.SIGKILL)
        assert wait_for(lambda: is_gone(server.pid))
        keeper.exit_code(server)


def test_closing_ends_even_what_ignores_sigterm(tmp_path: Path) -> None:
    """A server that does not listen to SIGTERM is killed after its grace, and its folder is removed."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    ready = tmp_path / "ready"
    with Keeper() as keeper:
        command = [sys.executable, "-c", STUBBORN, ready]
        server = keeper.start("stubborn", command, log=tmp_path / "log", temporary=scratch)
        assert wait_for(ready.exists)
    assert is_gone(server.pid)
    assert not scratch.exists()


def test_a_server_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    """Waiting for a server that ends says so at once, with what it printed and where the log is."""
    command = [sys.executable, "-c", "import sys; sys.exit('the disk is on fire')"]
    with Keeper() as keeper:
        server = keeper.start("server", command, log=tmp_path / "log")
        with pytest.raises(Terminal, match=r"(?s)server ended with code 1.*on fire.*log"):
            keeper.wait_for(server, lambda: False, timeout_s=20)


def test_a_command_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """Starting a program that is not there names it."""
    with Keeper() as keeper, pytest.raises(ConfigError, match="could not be started"):
        keeper.start("server", [tmp_path / "missing"], log=tmp_path / "log")


def test_cpu_time_counts_descendants(tmp_path: Path) -> None:
    """A server's CPU time includes that of the children it has waited for."""
    burn = "sum(i * i for i in range(3_000_000))"
    child = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {burn!r}]); time.sleep(300)"
    with Keeper() as keeper:
        keeper.start("server", [sys.executable, "-c", child], log=tmp_path / "log")
        assert wait_for(lambda: keeper.cpu_s()["server"] > 0.1)


EXITS = [sys.executable, "-c", "import sys; sys.exit(7)"]


def test_a_server_that_may_is_started_again(tmp_path: Path) -> None:
    """A killed server comes back when it is looked after, as under a service manager; the others do not."""
    with Keeper() as keeper:
        first = keeper.start("server", SLEEP, log=tmp_path / "log", is_restarted=True)
        os.kill(first.pid, signal.SIGKILL)
        assert wait_for(lambda: keeper.exit_code(first) == -signal.SIGKILL)
        keeper.check()
        assert keeper.servers["server"].pid != first.pid
        assert not is_gone(keeper.servers["server"].pid)


def test_a_server_that_ends_at_each_start_is_given_up(tmp_path: Path) -> None:
    """It is started again a few times, and then reported."""
    with Keeper() as keeper:
        keeper.start("server", EXITS, log=tmp_path / "log", is_restarted=True)

        def is_given_up() -> bool:
            try:
                keeper.check()
            except Terminal as error:
                return "server ended with code 7" in str(error)
            return False

        assert wait_for(is_given_up)


def test_a_stopped_server_stays_away_until_it_is_started(tmp_path: Path) -> None:
    """Nobody misses it, not even its descendants when it was killed; it starts again with the same command."""
    child = "import subprocess, sys, time; subprocess.run([sys.executable, '-c', 'import time; time.sleep(300)'])"
    with Keeper() as keeper:
        server = keeper.start("server", [sys.executable, "-c", child], log=tmp_path / "log", is_restarted=True)
        assert wait_for(lambda: len(process_tree(server.pid)) == 2)
        tree = process_tree(server.pid)
        keeper.stop("server", signal.SIGKILL)
        assert wait_for(lambda: all(is_gone(process.pid) for process in tree))
        keeper.check()
        assert "server" not in keeper.servers
        assert not is_gone(keeper.restart("server").pid)


def test_a_frozen_server_goes_on_where_it_was(tmp_path: Path) -> None:
    """Freezing stops a server without ending it."""
    with Keeper() as keeper:
        server = keeper.start("server", SLEEP, log=tmp_path / "log")
        keeper.freeze("server")
        assert wait_for(lambda: psutil.Process(server.pid).status() == psutil.STATUS_STOPPED)
        keeper.check()
        keeper.freeze("server", is_frozen=False)
        assert wait_for(lambda: psutil.Process(server.pid).status() != psutil.STATUS_STOPPED)
