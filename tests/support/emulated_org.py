"""A Salesforce emulator in a process of its own, as the pipeline's tests use it: by its settings."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from kpc.emulators.salesforce.options import switch_of
from kpc.settings import SalesforceSettings


@dataclass
class Emulator:
    """A Salesforce emulator in a process of its own, and how to reach it."""

    process: subprocess.Popen[bytes]
    facts: dict[str, Any]

    @property
    def settings(self) -> SalesforceSettings:
        """Settings that log in by client credentials and poll quickly."""
        return SalesforceSettings(
            base_url=self.facts["base_url"],
            client_id=self.facts["client_id"],
            client_secret=SecretStr(self.facts["client_secret"]),
            poll_first_s=0.02,
            poll_longest_s=0.2,
        )

    def switch(self, **changes: object) -> None:
        """Change the emulator's behaviour while it runs."""
        token = {"Authorization": f"Bearer {self.facts['access_token']}"}
        answer = httpx.patch(f"{self.facts['base_url']}/_emulator/switches", json=changes, headers=token, timeout=60)
        assert answer.status_code == 200, answer.text

    def api_requests(self) -> int:
        """How many API requests the org has counted."""
        answer = httpx.post(f"{self.facts['base_url']}/_emulator/usage", json={}, timeout=60, trust_env=False)
        return int(answer.raise_for_status().json()["api_requests"])

    def job_times(self) -> list[dict[str, Any]]:
        """Of each ingest job its id, its state and when it was closed, started and ended: seconds since the epoch."""
        answer = httpx.get(f"{self.facts['base_url']}/_emulator/jobs", timeout=60, trust_env=False)
        times: list[dict[str, Any]] = answer.raise_for_status().json()
        return times

    def reset(self) -> None:
        """Replace the org by a new, empty one with credentials of its own."""
        answer = httpx.post(f"{self.facts['base_url']}/_emulator/reset", timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text
        self.facts |= answer.json()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


class EmulatorPool:
    """Emulators that tests use in turn, each test with a new org: a reset takes a tenth of the time of a start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._idle: list[Emulator] = []
        self._started = 0

    def take(self, *switches: str) -> Emulator:
        """An emulator with an empty org that behaves as `switches` say, NAME=VALUE."""
        if self._idle:
            emulator = self._idle.pop()
        else:
            self._started += 1
            emulator = start_emulator(self._folder / f"emulator-{self._started}")
        if switches:
            emulator.switch(**dict(map(switch_of, switches)))
        return emulator

    def give_back(self, emulator: Emulator) -> None:
        """What the test left is gone at once; jobs at work would take time from the next test."""
        if emulator.process.poll() is None:
            emulator.reset()
            self._idle.append(emulator)

    def stop(self) -> None:
        for emulator in self._idle:
            emulator.stop()


def start_emulator(folder: Path, *switches: str, tls: bool = False) -> Emulator:
    """Start an emulator; `switches` are NAME=VALUE."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "kpc.emulators.salesforce", "--port", "0", "--ready-file", str(ready)]
    command += [part for switch in switches for part in ("--switch", switch)]
    command += ["--tls"] if tls else []
    with (folder / "emulator.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603  our own program
    for _ in range(600):
        if ready.exists():
            return Emulator(process, json.loads(ready.read_text()))
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    raise RuntimeError((folder / "emulator.log").read_text())
