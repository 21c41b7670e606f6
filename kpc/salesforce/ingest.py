"""Bulk API 2.0 ingest jobs: create, upload, close, abort, look up, list, results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from kpc.errors import ConfigError, JobFailed, OutcomeUnknown, SalesforceDown, UnusableAnswer
from kpc.gzip_files import open_gzip_to_read
from kpc.retry_policy import retried
from kpc.salesforce.answers import Refused
from kpc.salesforce.constants import BulkJobState, ResultKind
from kpc.salesforce.csv_download import save_csv
from kpc.salesforce.job_poller import JobAnswer
from kpc.salesforce.origins import path_within
from kpc.salesforce.rest import Rest
from kpc.salesforce.shapes import ApiName, Count, Message, Moment, RecordId, Shape, State

log = logging.getLogger(__name__)

Encoding = Literal["gzip", "identity"]

_JOBS = "/jobs/ingest"
_BLOCK_BYTES = 1 << 20
_MOST_PAGES = 2_000  # of the list of jobs: an org keeps 100,000 jobs, 1,000 a page
_MOST_ROW_BYTES = 8_192  # that a result adds to a row that was sent: its id and its error message
_MOST_GROWTH = 4  # of a row that was sent: each cell is quoted
_HEADER_BYTES = 1 << 20
_RESULT_COLUMNS = {
    ResultKind.SUCCESSFUL: ("sf__Id", "sf__Created"),
    ResultKind.FAILED: ("sf__Id", "sf__Error"),
    ResultKind.UNPROCESSED: (),
}
_QUOTA_WORD = "exceededquota"


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job as the org reports it. `processed` includes the failed rows; both are 0 if the org does not report them."""

    id: str
    state: BulkJobState
    object_name: str
    operation: str
    external_id_field: str | None
    created_by: str
    created_utc: datetime
    processed: int
    failed: int
    error_message: str
    counts_rows: bool = True  # whether the org reports `processed`

    @property
    def ran_out_of_quota(self) -> bool:
        """Whether the org stopped the job because the 24 h allowance was used up."""
        return self.state is BulkJobState.FAILED and _QUOTA_WORD in self.error_message.replace(" ", "").lower()

    @property
    def refuses_content(self) -> bool:
        """Whether the job failed before the first row, because its content could not be parsed."""
        return self.state is BulkJobState.FAILED and self.processed == 0 and not self.ran_out_of_quota


class _JobAnswer(Shape):
    id: RecordId
    state: State
    object: ApiName
    operation: Message
    externalIdFieldName: Message | None = None  # noqa: N815  Salesforce's names
    createdById: RecordId | None = None  # noqa: N815
    createdDate: Moment  # noqa: N815
    numberRecordsProcessed: Count | None = None  # noqa: N815
    numberRecordsFailed: Count | None = None  # noqa: N815
    errorMessage: Message | None = None  # noqa: N815


class _JobPage(Shape):
    done: bool = True
    records: list[_JobAnswer]
    nextRecordsUrl: str | None = None  # noqa: N815


class IngestApi(Rest):
    def create_job(self, object_name: str, external_id_field: str | None, *, operation: str = "upsert") -> JobInfo:
        """Create a job. Raises `OutcomeUnknown` if the response is lost: the job may exist, see `list_jobs`."""
        body = {
            "object": object_name,
            "operation": operation,
            "contentType": "CSV",
            "lineEnding": "LF",
            "columnDelimiter": "COMMA",
        }
        if external_id_field is not None:
            body["externalIdFieldName"] = external_id_field
        return _info(self.tell("POST", _JOBS, body, _JobAnswer))

    def upload(self, job_id: str, file: Path, *, encoding: Encoding, raw_bytes: int | None = None) -> None:
        """Send the gzip CSV `file`, as it is or decompressed while it is sent; memory does not grow with its size.

        Sent again by the retry policy while its response is lost: an upload that arrived is then refused. Raises
        `Refused` if the org does not accept it, `OutcomeUnknown` if the job may hold it, whole or in part.
        """
        headers = {"Content-Type": "text/csv; charset=UTF-8"}
        if encoding == "gzip":
            headers |= {"Content-Encoding": "gzip", "Content-Length": str(file.stat().st_size)}
        elif raw_bytes is not None:
            headers["Content-Length"] = str(raw_bytes)
        blocks = _blocks_of(file, is_unpacked=encoding == "identity")
        try:
            retried(lambda: self.put(f"{_JOBS}/{job_id}/batches", blocks, headers), also=(OutcomeUnknown,))
        except Refused as refused:
            if refused.code != "INVALIDJOBSTATE":
                raise
            raise OutcomeUnknown(refused.what, "Another job is created.", job_id=job_id) from None

    def complete_upload(self, job_id: str) -> None:
        """Close the job: from now on it uses quota and is processed. If the response is lost, its state is queried."""
        self._change_state(job_id, BulkJobState.UPLOAD_COMPLETE)

    def abort_job(self, job_id: str) -> None:
        """Abort a job that is not finished."""
        self._change_state(job_id, BulkJobState.ABORTED)

    def job(self, job_id: str) -> JobInfo | None:
        """The org's state of a job; None if the job does not exist (any more)."""
        try:
            info = _info(self.ask(_JobAnswer, f"{_JOBS}/{job_id}"))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise
        if info.id[:15] != job_id[:15]:
            raise UnusableAnswer(f"Asked for ingest job {job_id}, Salesforce described job {info.id}.", "Repeat.")
        return info

    def list_jobs(self) -> Iterator[JobInfo]:
        """Every Bulk API 2.0 ingest job of the org, in no particular order; counters are 0 here."""
        for records in self._job_pages():
            yield from map(_info, records)

    def poll_ingest_job(self, job_id: str) -> JobAnswer | None:
        """State and counter of a job; None if the job does not exist (any more)."""
        info = self.job(job_id)
        if info is None:
            return None
        return JobAnswer(info.id, info.state, info.processed if info.counts_rows else None)

    def list_ingest_states(self) -> Iterator[list[JobAnswer]]:
        """The state of every ingest job of the org, page by page. No page if this user may not list jobs."""
        try:
            for records in self._job_pages():
                yield [JobAnswer(record.id, record.state) for record in records]
        except (Refused, ConfigError) as refused:
            log.info("Each job is polled, because the list of jobs is refused: %s", refused)

    def _job_pages(self) -> Iterator[list[_JobAnswer]]:
        page = self.ask(_JobPage, _JOBS, {"jobType": "V2Ingest"})
        for _ in range(_MOST_PAGES):
            yield page.records
            if page.done or not page.nextRecordsUrl:
                return
            page = self.ask(_JobPage, path_within(page.nextRecordsUrl, _JOBS))
        raise UnusableAnswer(f"Salesforce's list of ingest jobs has more than {_MOST_PAGES:,} pages.", "Repeat.")

    def results(self, job_id: str, kind: ResultKind, file: Path, *, rows: int, raw_bytes: int) -> None:
        """Write one result CSV of a finished job to the gzip `file`; each attempt starts from the beginning.

        `rows` and `raw_bytes` are what was sent; from them follows how large a result can be.
        """
        most_bytes = _HEADER_BYTES + _MOST_GROWTH * raw_bytes + _MOST_ROW_BYTES * rows
        retried(lambda: self._download(job_id, kind, file, most_bytes))

    def _download(self, job_id: str, kind: ResultKind, file: Path, most_bytes: int) -> None:
        with self.stream(f"{_JOBS}/{job_id}/{kind.value}") as response:
            save_csv(response, file, most_bytes, columns=_RESULT_COLUMNS[kind])

    def _change_state(self, job_id: str, wanted: BulkJobState) -> None:
        retried(lambda: self._try_to_change(job_id, wanted), also=(OutcomeUnknown,))

    def _try_to_change(self, job_id: str, wanted: BulkJobState) -> None:
        """Change a job's state; if the response is lost or a refusal, what matters is the state that the job has."""
        try:
            self.tell_once("PATCH", f"{_JOBS}/{job_id}", {"state": wanted.value})
        except (OutcomeUnknown, Refused) as error:
            found = self.job(job_id)
            if found is None or (found.state is BulkJobState.OPEN and isinstance(error, Refused)):
                raise
            if found.state is BulkJobState.OPEN:
                raise SalesforceDown(
                    f"Job {job_id} stays Open although it was set to {wanted}.", "Repeat the load; it resumes this job."
                ) from None
            if wanted is BulkJobState.ABORTED and found.state is not BulkJobState.ABORTED:
                raise


def failed_job(info: JobInfo, what: str) -> JobFailed:
    """The error for a job that ended without processing its rows."""
    return JobFailed(
        f"Ingest job {info.id} of {what} ended as {info.state}: {info.error_message or 'no reason given'}.",
        f"Look at the job in Setup > Bulk Data Load Jobs, correct the cause, and run the load of {what} again.",
        job_id=info.id,
    )


def _info(answer: _JobAnswer) -> JobInfo:
    return JobInfo(
        id=answer.id,
        state=answer.state,
        object_name=answer.object,
        operation=answer.operation,
        external_id_field=answer.externalIdFieldName,
        created_by=answer.createdById or "",
        created_utc=answer.createdDate,
        processed=answer.numberRecordsProcessed or 0,
        failed=answer.numberRecordsFailed or 0,
        error_message=answer.errorMessage or "",
        counts_rows=answer.numberRecordsProcessed is not None,
    )


def _blocks_of(file: Path, *, is_unpacked: bool) -> Callable[[], Iterator[bytes]]:
    def blocks() -> Iterator[bytes]:
        with open_gzip_to_read(file) if is_unpacked else file.open("rb") as source:
            while block := source.read(_BLOCK_BYTES):
                yield block

    return blocks
