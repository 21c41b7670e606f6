"""Salesforce's limits, states and tokens, from its documentation."""

from __future__ import annotations

from enum import StrEnum

BATCH_ROWS = 10_000  # rows of a batch: a bulk job's rows are counted and billed in batches of this size
COLLECTION_RECORDS = 200  # records of one composite collection request
RESULT_DAYS = 7  # the org keeps a finished bulk job and its results this long
NULL_TOKEN = "#N/A"  # noqa: S105  null in a CSV cell of a bulk job; an empty cell leaves the field unchanged


class BulkJobState(StrEnum):
    """The states of an ingest or query job."""

    OPEN = "Open"
    UPLOAD_COMPLETE = "UploadComplete"
    IN_PROGRESS = "InProgress"
    JOB_COMPLETE = "JobComplete"
    FAILED = "Failed"
    ABORTED = "Aborted"

    @property
    def is_final(self) -> bool:
        return self in (BulkJobState.JOB_COMPLETE, BulkJobState.FAILED, BulkJobState.ABORTED)


class ResultKind(StrEnum):
    """The three result files of an ingest job; the last one has no sf__ columns."""

    SUCCESSFUL = "successfulResults"
    FAILED = "failedResults"
    UNPROCESSED = "unprocessedrecords"
