"""A Salesforce emulator in a process of its own, as the pipeline's tests use it: by its settings."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import SecretStr

from kpc.settings import SalesforceSettings


@dataclass
class Emulator:
    """A Salesforce emulator in a process of its own, and how to reach it."""

    process: subprocess.Popen[bytes]
    facts: dict[str, str]

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
        answer = httpx.patch(f"{self.facts['base_url']}/_emulator/switches", json=changes, headers=token)
        assert answer.status_code == 200, answer.text

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


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
