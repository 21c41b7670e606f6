"""Stage 2: a sealed extract becomes gzip CSV chunks, ready for upload to Salesforce."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets.oracle_extract import oracle_extract
from kpc.stages.asset import asset
from kpc.stages.current_manifests import staged_manifest

if TYPE_CHECKING:
    from kpc.stages.context import StageContext
    from kpc.storage.manifests import ExtractManifest, StagedManifest


@asset(upstream=oracle_extract, read=staged_manifest)
def staged_csv(context: StageContext, extract: ExtractManifest) -> StagedManifest:
    """Maps, converts and checks every row and cuts the gzip CSV chunks that Salesforce will take.

    First the jobs of a load that was interrupted are finalized, so that no row which they wrote is sent again. Raises
    what `stage_partition` raises, and `ConfigError` for an external id that is composed differently from the records
    already in the org.
    """
    from kpc.load.superseded_loads import finalize_superseded_loads  # noqa: PLC0415  heavy; see kpc.stages.asset
    from kpc.stages.vouched_work import record_mapping  # noqa: PLC0415
    from kpc.staging.partition_staging import stage_partition  # noqa: PLC0415
    from kpc.staging.rejected_rows import book_rejected_rows  # noqa: PLC0415

    context.ledger.mappings.check_external_id(context.environment, context.table)
    record_mapping(context)
    finalize_superseded_loads(context, (extract.generation, context.table.mapping_version))
    manifest = stage_partition(context, extract)
    book_rejected_rows(context, manifest)
    return manifest
