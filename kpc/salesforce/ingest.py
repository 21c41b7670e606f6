"""Bulk API 2.0 ingest jobs: create, upload, close, abort, look up, list, results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from kpc.errors import ConfigError, JobFailed, OutcomeUnknown, SalesforceDown
from kpc.gzip_files import open_gzip_to_read, open_gzip_to_write
from kpc.salesforce.answers import Refused
from kpc.salesforce.constants import BulkJobState, ResultKind
from kpc.salesforce.job_poller import JobAnswer
from kpc.salesforce.rest import Rest, retried

log = logging.getLogger(__name__)

Encoding = Literal["gzip", "identity"]

_JOBS = "/jobs/ingest"
_BLOCK_BYTES = 1 << 20
_CLOSE_TRIES = 3
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
        return _info(self.tell("POST", _JOBS, body))

    def upload(self, job_id: str, file: Path, *, encoding: Encoding, raw_bytes: int | None = None) -> None:
        """Send the gzip CSV `file`, as it is or decompressed while it is sent; memory does not grow with its size.

        Raises `Refused` if the org does not accept it, `OutcomeUnknown` if the response is lost.
        """
        headers = {"Content-Type": "text/csv; charset=UTF-8"}
        if encoding == "gzip":
            headers |= {"Content-Encoding": "gzip", "Content-Length": str(file.stat().st_size)}
        elif raw_bytes is not None:
            headers["Content-Length"] = str(raw_bytes)
        blocks = _blocks_of(file, is_unpacked=encoding == "identity")
        self.put(f"{_JOBS}/{job_id}/batches", blocks, headers)

    def complete_upload(self, job_id: str) -> None:
        """Close the job: from now on it uses quota and is processed. If the response is lost, its state is queried."""
        self._change_state(job_id, BulkJobState.UPLOAD_COMPLETE)

    def abort_job(self, job_id: str) -> None:
        """Abort a job that is not finished."""
        self._change_state(job_id, BulkJobState.ABORTED)

    def job(self, job_id: str) -> JobInfo | None:
        """The org's state of a job; None if the job does not exist (any more)."""
        try:
            return _info(self.ask(f"{_JOBS}/{job_id}"))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

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
                yield [JobAnswer(record["id"], BulkJobState(record["state"])) for record in records]
        except (Refused, ConfigError) as refused:
            log.info("Each job is polled, because the list of jobs is refused: %s", refused)

    def _job_pages(self) -> Iterator[list[dict[str, Any]]]:
        page = self.ask(_JOBS, {"jobType": "V2Ingest"})
        while True:
            yield page["records"]
            if page.get("done", True) or not page.get("nextRecordsUrl"):
                return
            page = self.ask(page["nextRecordsUrl"])

    def results(self, job_id: str, kind: ResultKind, file: Path) -> None:
        """Write one result CSV of a finished job to the gzip `file`; each attempt starts from the beginning."""
        retried(lambda: self._download(f"{_JOBS}/{job_id}/{kind.value}", file))

    def _download(self, path: str, file: Path) -> None:
        """A gzip response is stored as it is: results repeat every column, and compression is the main cost."""
        with self.stream(path) as response:
            if response.headers.get("Content-Encoding", "").lower() == "gzip":
                with file.open("wb") as packed:
                    for block in response.iter_raw(_BLOCK_BYTES):
                        packed.write(block)
                return
            with open_gzip_to_write(file) as packed:
                for block in response.iter_bytes(_BLOCK_BYTES):
                    packed.write(block)

    def _change_state(self, job_id: str, wanted: BulkJobState) -> None:
        for _ in range(_CLOSE_TRIES):
            try:
                self.tell("PATCH", f"{_JOBS}/{job_id}", {"state": wanted.value})
            except (OutcomeUnknown, Refused) as error:
                found = self.job(job_id)
                if found is None or (found.state is BulkJobState.OPEN and isinstance(error, Refused)):
                    raise
                if found.state is BulkJobState.OPEN:
                    continue  # it did not take effect
                if wanted is BulkJobState.ABORTED and found.state is not BulkJobState.ABORTED:
                    raise
            return
        raise SalesforceDown(
            f"Job {job_id} stays Open although it was set to {wanted} {_CLOSE_TRIES} times.",
            "Repeat the load; it resumes this job.",
        )


def failed_job(info: JobInfo, what: str) -> JobFailed:
    """The error for a job that ended without processing its rows."""
    return JobFailed(
        f"Ingest job {info.id} of {what} ended as {info.state}: {info.error_message or 'no reason given'}.",
        f"Look at the job in Setup > Bulk Data Load Jobs, correct the cause, and run the load of {what} again.",
        job_id=info.id,
    )


def _info(body: dict[str, Any]) -> JobInfo:
    return JobInfo(
        id=body["id"],
        state=BulkJobState(body["state"]),
        object_name=body["object"],
        operation=body["operation"],
        external_id_field=body.get("externalIdFieldName"),
        created_by=body.get("createdById", ""),
        created_utc=datetime.fromisoformat(body["createdDate"]),
        processed=int(body.get("numberRecordsProcessed") or 0),
        failed=int(body.get("numberRecordsFailed") or 0),
        error_message=body.get("errorMessage") or "",
        counts_rows=body.get("numberRecordsProcessed") is not None,
    )


def _blocks_of(file: Path, *, is_unpacked: bool) -> Callable[[], Iterator[bytes]]:
    def blocks() -> Iterator[bytes]:
        with open_gzip_to_read(file) if is_unpacked else file.open("rb") as source:
            while block := source.read(_BLOCK_BYTES):
                yield block

    return blocks
