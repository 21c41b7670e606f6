"""A load of many chunks by threads of one process, as `kpc run` does it, with a record of each request."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from kpc.bench.request_record import RequestRecord
from kpc.bench.sample_load import open_sample, sample_partition
from kpc.load.load_chunks import load_chunks
from kpc.load.plan import plan
from kpc.load.publish import publish
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import staged_manifest
from kpc.stages.names import SF_LOADED
from kpc.stages.stage_run import leased


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
