"""A load of many chunks by threads of one process, as `kpc run` does it, with a record of each request."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import httpx

from kpc.bench.sample_load import open_sample, sample_partition
from kpc.load.load_chunks import load_chunks
from kpc.load.plan import plan
from kpc.load.publish import publish
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import staged_manifest
from kpc.stages.names import SF_LOADED
from kpc.stages.stage_run import leased

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


def load_queue(folder: str, org: Mapping[str, str], table: str, jobs_in_flight: int) -> dict[str, object]:
    """Load the staged chunks and publish the load. Returns its wall time, and what `RequestRecord` holds."""
    record = RequestRecord()
    workspace = open_sample(Path(folder), org, transport=record, jobs_in_flight=jobs_in_flight)
    began_s = time.monotonic()
    try:
        with leased(PartitionContext(workspace, sample_partition(table)), SF_LOADED) as held:
            staged = staged_manifest(held)
            loaded = publish(held, staged, load_chunks(held, plan(held, staged)))
    finally:
        workspace.close()
    return {
        "rows": loaded.loaded,
        "wall_s": time.monotonic() - began_s,
        "calls": record.calls,
        "calls_of": record.calls_of,
        "results_utc_s": record.results_utc_s,
    }
