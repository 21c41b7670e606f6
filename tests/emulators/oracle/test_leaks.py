"""Clients that die or come and go by the hundred leave nothing behind in the emulator."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import oracledb
import psutil
import pytest
from oracle_emulator_process import emulator

pytestmark = pytest.mark.emulator_only
SETTLE_S = 20
SETTLED_S = 1
MAX_GROWN_BYTES = 64 * 1024 * 1024
READER = """
import json, sys, oracledb
connection = oracledb.connect(**json.loads(sys.argv[1]))
cursor = connection.cursor()
cursor.execute("update held set n = n + 1 where n > 1e9")
cursor.execute("select level n, rpad('x', 2000, 'y') s, to_clob('c' || level) c from dual connect by level <= 300000")
print(cursor.fetchone()[0], flush=True)
for row in cursor:
    pass
"""


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + SETTLE_S
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.05)


def sessions(cursor: oracledb.Cursor) -> int:
    [(count,)] = cursor.execute("select count(*) from v$session").fetchall()
    return int(count)


def kill_during_fetch(target: dict[str, str]) -> None:
    """A client process that dies between two rows, as after kill -9."""
    command = [sys.executable, "-c", READER, json.dumps(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:  # noqa: S603 - our own command
        assert reader.stdout is not None
        assert reader.stdout.readline() == "1\n"
        reader.kill()


def test_dead_and_passing_clients_leave_no_sessions_threads_files_or_memory(tmp_path: Path) -> None:
    """Killed during a fetch, or connected and dropped: sessions, threads, sockets and memory come back."""
    with emulator(tmp_path) as (process, target), oracledb.connect(**target) as connection:
        cursor = connection.cursor()
        cursor.execute("create table held (n number)")
        server = psutil.Process(process.pid)

        def strain(times: int) -> None:
            for _ in range(times):
                with oracledb.connect(**target) as passing:
                    passing.cursor().execute("select * from dual").fetchall()
            kill_during_fetch(target)
            wait_until(lambda: sessions(cursor) == 1)

        strain(20)
        strain(20)  # by now every pool of worker threads has its size
        time.sleep(SETTLED_S)
        files, threads, held_bytes = server.num_fds(), server.num_threads(), server.memory_info().rss
        strain(100)
        strain(1)
        wait_until(lambda: server.num_fds() <= files and server.num_threads() <= threads)
        assert server.memory_info().rss - held_bytes < MAX_GROWN_BYTES
        cursor.execute("drop table held")
