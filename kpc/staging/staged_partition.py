"""Station 2: a sealed extract becomes gzip CSV chunks that Salesforce can take as they are."""

from __future__ import annotations

from collections.abc import Iterator

from kpc.extract.partition_extract import sealed_extract
from kpc.ledger import Failure
from kpc.partition import Partition
from kpc.stages.result import Made, Receipt
from kpc.stages.stage_run import Turn, current_generation, run_stage
from kpc.stages.workspace import Workspace
from kpc.staging.partition_staging import stage_partition
from kpc.staging.rejects import read_rejected
from kpc.storage.manifests import StagedManifest, staged_folder

REJECTED_CLASS = "rejected"  # error class of a row that staging refused: it is known by its source key
REJECTED_AT = "staged_csv"  # stands in the place of a chunk's name for rows that never reached one


def staged_csv(partition: Partition, workspace: Workspace) -> Receipt:
    """Stage the partition's current generation and book its rejected rows.

    Raises what `stage_partition` raises, and `ConfigError` for a partition that was never extracted or an external id
    that is composed differently from the records already in the org.
    """

    def make(turn: Turn) -> Made:
        generation = current_generation(partition, workspace)
        extract = sealed_extract(partition, workspace, generation.id)
        workspace.ledger.check_external_id(workspace.environment, partition.table)
        version = workspace.ledger.remember_mapping(partition.table)
        manifest = stage_partition(partition, workspace, extract)
        rejected = _rejected_rows(partition, workspace, manifest)
        workspace.ledger.replace_failures(generation.id, version, REJECTED_AT, rejected, lease=turn.lease)
        return Made(
            generation.id,
            rows=manifest.staged,
            bytes=sum(chunk.bytes for chunk in manifest.chunks),
            mapping_version=version,
            detail={
                **{name: getattr(manifest, name) for name in ("extracted", "staged", "unchanged", "rejected")},
                **{name: getattr(manifest, name) for name in ("truncated", "rounded", "vanished")},
                "chunks": len(manifest.chunks),
            },
        )

    return run_stage("staged_csv", partition, workspace, make)


def _rejected_rows(partition: Partition, workspace: Workspace, manifest: StagedManifest) -> Iterator[Failure]:
    """The rows of rejected.csv.gz for the ledger, known by their source keys; the values stay in the file."""
    if manifest.rejected_file is None:
        return
    generation = workspace.store.generation_dir(workspace.environment, partition, manifest.generation)
    folder = generation / staged_folder(manifest.mapping_version)
    path = workspace.store.file(folder, manifest.rejected_file, remedy="Stage the partition again.")
    for row in read_rejected(path).iter_rows(named=True):
        yield Failure(
            external_id=row["source_key"] or "",
            error_code=row["rule"],
            error_class=REJECTED_CLASS,
            message=f"{row['field']} breaks the rule {row['rule']}.",
            fields=(row["field"],),
            attempts=1,
            job_id=None,
        )
