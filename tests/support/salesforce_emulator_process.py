"""The Salesforce emulator as its own process, for tests: start, connect, load, end."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

START_S = 40.0
JOB_S = 60.0
VERSION = "v62.0"
SUPPLIER = "KPS_PosSupplier__c"
HEADER = "External_ID__c,Pos_Supplier_Code__c\n"


@dataclass
class EmulatorProcess:
    """`ready` is the ready file's content; `client` is an HTTP client with a session."""

    folder: Path
    options: tuple[str, ...] = ()
    ready: dict[str, Any] = field(default_factory=dict)

    @property
    def ready_file(self) -> Path:
        return self.folder / "ready.json"

    def start(self) -> EmulatorProcess:
        self.ready_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "kpc.emulators.salesforce", "--ready-file", str(self.ready_file)]
        self.log = (self.folder / "log.txt").open("ab")
        self.process = subprocess.Popen([*command, *self.options], stderr=self.log)  # noqa: S603  our own program
        deadline = time.monotonic() + START_S
        while not self.ready_file.exists():
            assert self.process.poll() is None, (self.folder / "log.txt").read_text()
            assert time.monotonic() < deadline, "the emulator did not start"
            time.sleep(0.02)
        self.ready = json.loads(self.ready_file.read_text())
        self.client = httpx.Client(base_url=self.ready["base_url"], timeout=120)
        self.client.headers["Authorization"] = f"Bearer {self.ready['access_token']}"
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the process with a signal; answers its exit code."""
        self.client.close()
        self.process.send_signal(number)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self.log.close()

    # REST in short

    def url(self, path: str) -> str:
        return f"/services/data/{VERSION}/{path}"

    def get(self, path: str, **parameters: str | int) -> httpx.Response:
        return self.client.get(self.url(path), params=parameters or None)

    def query(self, soql: str) -> list[dict[str, Any]]:
        answer = self.get("query", q=soql)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["records"]
        return found

    def count(self, soql: str) -> int:
        return int(self.get("query", q=soql).json()["totalSize"])

    # Bulk API in short

    def create_job(self, sobject: str, operation: str = "upsert", **more: str) -> dict[str, Any]:
        body = {"object": sobject, "operation": operation, **more}
        if operation == "upsert":
            body.setdefault("externalIdFieldName", "External_ID__c")
        answer = self.client.post(self.url("jobs/ingest"), json=body)
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def upload(self, job: dict[str, Any], content: bytes | str, **headers: str) -> httpx.Response:
        body = content.encode() if isinstance(content, str) else content
        headers = {"content-type": "text/csv", **headers}
        return self.client.put("/" + job["contentUrl"], content=body, headers=headers)

    def set_state(self, job: dict[str, Any], state: str = "UploadComplete") -> httpx.Response:
        return self.client.patch(self.url(f"jobs/ingest/{job['id']}"), json={"state": state})

    def poll(self, job: dict[str, Any]) -> dict[str, Any]:
        info: dict[str, Any] = self.get(f"jobs/ingest/{job['id']}").json()
        return info

    def wait_for(self, job: dict[str, Any], kind: str = "ingest") -> dict[str, Any]:
        deadline = time.monotonic() + JOB_S
        while True:
            info: dict[str, Any] = self.get(f"jobs/{kind}/{job['id']}").json()
            if info["state"] in ("JobComplete", "Failed", "Aborted"):
                return info
            assert time.monotonic() < deadline, info
            time.sleep(0.02)

    def load(self, sobject: str, content: str, operation: str = "upsert", **more: str) -> dict[str, Any]:
        """Create, upload, close, wait; answers the last poll."""
        job = self.create_job(sobject, operation, **more)
        assert self.upload(job, content).status_code == 201
        assert self.set_state(job).status_code == 200
        return self.wait_for(job)

    def result(self, job: dict[str, Any], kind: str) -> str:
        answer = self.get(f"jobs/ingest/{job['id']}/{kind}")
        assert answer.status_code == 200, answer.text
        return answer.text


def switch(emulator: EmulatorProcess, **values: object) -> None:
    """Change switches of a running emulator."""
    assert emulator.client.patch("/_emulator/switches", json=values).status_code == 200


def fault(emulator: EmulatorProcess, **rule: object) -> None:
    """Add a fault rule."""
    assert emulator.client.post("/_emulator/faults", json=rule).status_code == 200


def csv_rows(text: str) -> list[dict[str, str]]:
    """A result file's rows."""
    return list(csv.DictReader(io.StringIO(text)))


def supplier_lines(prefix: str, count: int) -> str:
    """A CSV file of `count` suppliers."""
    return HEADER + "".join(f"{prefix}{n},A\n" for n in range(count))


def token(emulator: EmulatorProcess, **form: str) -> httpx.Response:
    """The answer of the token endpoint."""
    return httpx.post(f"{emulator.ready['base_url']}/services/oauth2/token", data=form, timeout=60)
