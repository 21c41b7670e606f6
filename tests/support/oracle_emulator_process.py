"""The Oracle emulator as its own process, for tests: start, learn how to connect, end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READY_S = 30
MODES = {"19c": [], "19c-sdu-512": ["--sdu", "512"], "23ai": ["--field-version", "24", "--end-of-response"]}


@contextmanager
def emulator(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A running process and what its ready file says."""
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "kpc.emulators.oracle", "--rows", "0", "--ready-file", str(ready), *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603 - our own command
    try:
        deadline = time.monotonic() + READY_S
        while not ready.exists():
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        facts = json.loads(ready.read_text())
        yield process, {name: facts[name] for name in ("dsn", "user", "password")}
    finally:
        process.kill()
        process.wait(10)
