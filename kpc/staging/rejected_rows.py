"""Recording rejected rows in the ledger by their source keys; the values stay in the reject file."""

from __future__ import annotations

from collections.abc import Iterator

from kpc.ledger import RowFailure
from kpc.ledger.states import FailureClass
from kpc.stages.context import LeasedContext, PartitionContext
from kpc.staging.rejects import read_rejected
from kpc.storage.manifests import StagedManifest

REJECTED_CLASS = FailureClass.REJECTED  # error class of a row rejected by staging; it is identified by its source key
REJECTED_AT = "staged_csv"  # instead of a chunk's name, for rows that never reached a chunk


def book_rejected_rows(context: LeasedContext, manifest: StagedManifest) -> None:
    """Record the rejected rows of a staged generation, replacing those recorded before."""
    context.ledger.failures.replace(
        manifest.generation,
        manifest.mapping_version,
        REJECTED_AT,
        _failures(context, manifest),
        lease=context.lease,
    )


def _failures(context: PartitionContext, manifest: StagedManifest) -> Iterator[RowFailure]:
    if manifest.rejected_file is None:
        return
    folder = context.paths.generation(manifest.generation).staged(manifest.mapping_version)
    path = context.store.file(folder, manifest.rejected_file, remedy="Stage the partition again.")
    for row in read_rejected(path).iter_rows(named=True):
        yield RowFailure(
            external_id=row["source_key"] or "",
            error_code=row["rule"],
            error_class=REJECTED_CLASS,
            message=f"{row['field']} breaks the rule {row['rule']}.",
            fields=(row["field"],),
            attempts=1,
            job_id=None,
        )
