"""What a load asks of the org, seen from outside: its requests, and the emulator's own times of the jobs."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

import httpx

_JOB = re.compile(r"/jobs/ingest/(750\w+)(/successfulResults)?")


class RequestRecord(httpx.BaseTransport):
    """Counts the API requests, by job where a path names one, and notes when each job's results were asked for."""

    def __init__(self) -> None:
        self._network = httpx.HTTPTransport()
        self.calls = 0
        self.calls_of: Counter[str] = Counter()
        self.results_utc_s: dict[str, float] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.calls += path.startswith("/services/data/")
        if found := _JOB.search(path):
            self.calls_of[found[1]] += 1
            if found[2]:
                self.results_utc_s.setdefault(found[1], time.time())
        return self._network.handle_request(request)

    def close(self) -> None:
        self._network.close()


def job_times(base_url: str) -> list[dict[str, Any]]:
    """Of each ingest job of an emulator its id, and when it was closed, started and ended: seconds since the epoch."""
    answer = httpx.get(f"{base_url}/_emulator/jobs", trust_env=False, timeout=30)
    times: list[dict[str, Any]] = answer.raise_for_status().json()
    return times
