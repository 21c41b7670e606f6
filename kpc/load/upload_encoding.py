"""Whether an org accepts gzip uploads: tried with a small chunk, and believed only after a job has shown it.

Salesforce documents compressed requests, but not for this upload. An org can refuse the upload (415 or 400), or misread
it: the job then fails on its content, which other faults of the content cause as well. So "takes no gzip" is recorded
only when the same rows have arrived uncompressed, right after gzip failed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from kpc.ledger import JobRow
from kpc.ledger.states import JobPurpose, JobState
from kpc.load.chunk_load import ChunkLoad, ChunkSpec
from kpc.salesforce import Encoding, JobInfo, Refused
from kpc.salesforce.constants import BATCH_ROWS
from kpc.stages.context import PartitionContext

log = logging.getLogger(__name__)

ENCODING_TRAIT = "upload_encoding"
REFUSAL_SEEN = "gzip_upload_refused_to"  # the job whose gzip upload was refused: an observation, no conclusion yet
# Error messages of a job that could not read its CSV: InvalidBatch, ClientInputError, or an unknown field name.
_CONTENT_ERROR = re.compile(r"InvalidBatch|ClientInputError|Field name|LineEnding", re.IGNORECASE)


def encodings(load: ChunkLoad) -> Sequence[Encoding]:
    """The upload encodings to try, in order of preference."""
    wanted = load.settings.upload_encoding
    if wanted != "auto":
        return (wanted,)
    learned = _learned(load.context)
    if learned == "gzip" or (learned is None and may_probe_gzip(load.spec) and not _has_failed_on_gzip(load)):
        return ("gzip", "identity")
    return ("identity",)


def may_probe_gzip(spec: ChunkSpec) -> bool:
    """Whether a chunk may be used to test the org's gzip support: if the org misreads it, at most one batch is lost."""
    return spec.purpose == JobPurpose.CHUNK and spec.rows <= BATCH_ROWS


def encoding_is_unknown(context: PartitionContext) -> bool:
    """Whether the next upload shows if this org accepts gzip."""
    return context.settings.salesforce.upload_encoding == "auto" and _learned(context) is None


def is_about_gzip(load: ChunkLoad, refused: Refused) -> bool:
    """Whether a refused gzip upload is sent uncompressed to the same job. A refusal of that one ends the load."""
    return load.settings.upload_encoding == "auto" and (
        refused.status == 415 or (refused.status == 400 and encoding_is_unknown(load.context))
    )


def note_refusal(load: ChunkLoad, job: JobRow) -> None:
    """Remember which job refused gzip until it is known whether it accepts the same rows uncompressed."""
    load.ledger.org_facts.remember(job.target_id, REFUSAL_SEEN, job.job_id or "")


def may_have_misread_gzip(load: ChunkLoad, info: JobInfo) -> bool:
    """Whether a job may have failed because it took the gzip bytes for CSV; then the chunk is sent uncompressed."""
    is_about_content = info.refuses_content and _CONTENT_ERROR.search(info.error_message) is not None
    is_probe = encoding_is_unknown(load.context) and may_probe_gzip(load.spec)
    return is_about_content and is_probe and load.job(info.id).encoding == "gzip"


def learn_encoding(load: ChunkLoad, info: JobInfo) -> None:
    """Record what the job has shown; called when each of its rows has a result."""
    facts, job = load.ledger.org_facts, load.job(info.id)
    if load.settings.upload_encoding != "auto" or not info.processed:
        return
    if job.encoding == "gzip":
        if _learned(load.context) is None:
            facts.remember(job.target_id, ENCODING_TRAIT, "gzip")
        return
    was_refused = facts.find(job.target_id, REFUSAL_SEEN) == info.id
    if was_refused or (encoding_is_unknown(load.context) and _has_failed_on_gzip(load)):
        log.info("The org takes no gzip uploads; `kpc org forget %s` lets the next load try again", ENCODING_TRAIT)
        facts.remember(job.target_id, ENCODING_TRAIT, "identity")
        facts.forget(job.target_id, REFUSAL_SEEN)


def _has_failed_on_gzip(load: ChunkLoad) -> bool:
    """Whether the chunk's latest failed job failed on its content and was sent as gzip."""
    failed = [job for job in load.jobs() if job.state == JobState.FAILED]
    return bool(failed) and failed[-1].encoding == "gzip" and bool(_CONTENT_ERROR.search(failed[-1].error or ""))


def _learned(context: PartitionContext) -> str | None:
    return context.ledger.org_facts.find(context.environment.target_id, ENCODING_TRAIT)
