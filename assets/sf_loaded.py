"""Stage 3: the staged chunks of a partition in Salesforce, each row confirmed, failed or accounted for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets.staged_csv import staged_csv
from kpc.stages.asset import asset
from kpc.stages.current_manifests import published_load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpc.load.chunk_result import ChunkResult
    from kpc.stages.context import StageContext
    from kpc.storage.manifests import LoadManifest, StagedManifest


@asset(upstream=staged_csv, read=published_load, waits_for_parents=True)
def sf_loaded(
    context: StageContext, staged: StagedManifest, chunks: Sequence[ChunkResult] | None = None
) -> LoadManifest:
    """Upserts the chunks with Bulk API 2.0 ingest jobs, at most 15 in flight, parents before children.

    `chunks` are the results of mapped tasks, which are then only published. Without them, every remaining chunk is
    loaded here.
    """
    from kpc.load.load_chunks import load_chunks  # noqa: PLC0415  heavy; see kpc.stages.asset
    from kpc.load.plan import plan  # noqa: PLC0415
    from kpc.load.publish import publish  # noqa: PLC0415

    if chunks is None:
        chunks = load_chunks(context, plan(context, staged))
    return publish(context, staged, chunks)
