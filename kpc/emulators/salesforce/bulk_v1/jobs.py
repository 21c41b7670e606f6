"""Jobs of Bulk API 1.0: the client cuts the batches itself, and each has a result row per row, in its order.

Jobs are kept in memory and end with the process; the records they wrote remain.
"""

from __future__ import annotations

import csv
import io
import threading
from dataclasses import dataclass, field
from datetime import datetime

from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.http.wire import parse_json, to_json
from kpc.emulators.salesforce.org.clock import iso_offset
from kpc.emulators.salesforce.org.ids import make_id, to_18
from kpc.emulators.salesforce.org.org import Org
from kpc.emulators.salesforce.org.schema import SObject, SObjectField
from kpc.emulators.salesforce.soql.queries import Queries, csv_header, records, text_rows
from kpc.emulators.salesforce.writing.records import Record, WrittenRecord, save

BATCH_PREFIX, RESULT_PREFIX = "751", "752"
QUERIES = ("query", "queryAll")
_MOST_ROWS = 10_000
_MOST_JOBS = 1_000
_MEDIA = {"CSV": "text/csv", "JSON": "application/json"}


@dataclass(slots=True)
class BulkV1Batch:
    """The content that was sent, and its result; `message` says why a batch failed as a whole."""

    id: str
    job_id: str
    created: datetime
    request: bytes
    result: bytes = b""
    rows: int = 0
    failed: int = 0
    message: str = ""

    def facts(self) -> dict[str, object]:
        return {
            "id": self.id,
            "jobId": self.job_id,
            "state": "Failed" if self.message else "Completed",
            "stateMessage": self.message or None,
            "createdDate": iso_offset(self.created),
            "systemModstamp": iso_offset(self.created),
            "numberRecordsProcessed": self.rows,
            "numberRecordsFailed": self.failed,
            "totalProcessingTime": 0,
            "apiActiveProcessingTime": 0,
            "apexProcessingTime": 0,
        }


@dataclass(slots=True)
class BulkV1Job:
    id: str
    operation: str
    sobject: SObject
    key: SObjectField | None
    content_type: str
    concurrency: str
    user_id: str
    created: datetime
    version: str
    state: str = "Open"
    batches: dict[str, BulkV1Batch] = field(default_factory=dict)

    @property
    def speaks_json(self) -> bool:
        """Batches are reported in the job's content type: as XML unless that is JSON."""
        return self.content_type == "JSON"

    @property
    def media_type(self) -> str:
        return _MEDIA[self.content_type]

    def facts(self) -> dict[str, object]:
        failed = sum(bool(each.message) for each in self.batches.values())
        return {
            "id": self.id,
            "operation": self.operation,
            "object": self.sobject.name,
            "createdById": self.user_id,
            "createdDate": iso_offset(self.created),
            "systemModstamp": iso_offset(self.created),
            "state": self.state,
            "externalIdFieldName": self.key.name if self.key else None,
            "concurrencyMode": self.concurrency,
            "contentType": self.content_type,
            "numberBatchesQueued": 0,
            "numberBatchesInProgress": 0,
            "numberBatchesCompleted": len(self.batches) - failed,
            "numberBatchesFailed": failed,
            "numberBatchesTotal": len(self.batches),
            "numberRecordsProcessed": sum(each.rows for each in self.batches.values()),
            "numberRetries": 0,
            "apiVersion": self.version,
            "numberRecordsFailed": sum(each.failed for each in self.batches.values()),
            "totalProcessingTime": 0,
            "apiActiveProcessingTime": 0,
            "apexProcessingTime": 0,
        }


class BulkV1Jobs:
    """The jobs of one org. A batch is processed while the client that sends it waits."""

    def __init__(self, org: Org, queries: Queries) -> None:
        self._org = org
        self._queries = queries
        self._lock = threading.Lock()
        self._jobs: dict[str, BulkV1Job] = {}
        self._batches = 0

    def add(self, job: BulkV1Job) -> None:
        with self._lock:
            while len(self._jobs) >= _MOST_JOBS:
                del self._jobs[next(iter(self._jobs))]
            self._jobs[job.id] = job

    def find(self, job_id: str) -> BulkV1Job:
        job = self._jobs.get(to_18(job_id) or "")
        if job is None:
            raise ApiError(400, "InvalidJob", f"Unable to find job: {job_id[:40]}")
        return job

    def run(self, job: BulkV1Job, content: bytes) -> BulkV1Batch:
        """Process what a client sent as one more batch of its job."""
        with self._lock:
            if job.state != "Open":
                raise ApiError(400, "InvalidJobState", f"The job is {job.state}")
            self._batches += 1
            batch_id = make_id(BATCH_PREFIX, self._batches)
        batch = BulkV1Batch(batch_id, job.id, self._org.clock.now(), content)
        try:
            if job.operation in QUERIES:
                self._query(job, batch)
            else:
                self._write(job, batch)
        except ApiError as error:
            batch.message = f"InvalidBatch : {error.message}"
        with self._lock:
            job.batches[batch.id] = batch
        return batch

    def _write(self, job: BulkV1Job, batch: BulkV1Batch) -> None:
        rows = _rows(job, batch.request)
        if len(rows) > _MOST_ROWS:
            raise ApiError(400, "ExceededQuota", f"A batch has at most {_MOST_ROWS} records")
        self._admit(len(rows))
        asked = [(job.sobject, row) for row in rows]
        saved = save(self._org, job.operation, asked, job.user_id, key=job.key, source=job.id)
        batch.rows, batch.failed = len(saved), sum(each.error is not None for each in saved)
        batch.result = (_csv_results(saved) if job.content_type == "CSV" else _json_results(saved)).encode()

    def _admit(self, rows: int) -> None:
        org, switches = self._org, self._org.switches
        with org.jobs.lock:
            if org.batches.used >= switches.daily_batches or org.records.used + rows > switches.daily_records:
                raise ApiError(400, "ExceededQuota", "the batches or records allowed in 24 hours are used up")
            org.batches.add(1)
            org.records.add(rows)

    def _query(self, job: BulkV1Job, batch: BulkV1Batch) -> None:
        soql = batch.request.decode("utf-8-sig", errors="replace")
        compiled = self._queries.compiled(soql, deleted=job.operation == "queryAll")
        if compiled.is_aggregate or compiled.is_count or compiled.children:
            raise ApiError(400, "InvalidBatch", "Aggregate and nested queries are not supported in Bulk Query")
        timed = self._queries.optimizer.timed("bulk_v1", compiled, soql)
        with timed, self._org.storage.reading() as session:
            if job.content_type == "JSON":
                found = records(compiled, session.table(compiled.sql, compiled.parameters), job.version)
                batch.rows, batch.result = len(found), to_json(found).encode()
                return
            text = io.StringIO()
            writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
            writer.writerow(csv_header(compiled.outputs))
            for block in text_rows(session, compiled, _MOST_ROWS):
                writer.writerows(zip(*(column.to_pylist() for column in block.columns), strict=True))
                batch.rows += block.num_rows
        batch.result = text.getvalue().encode() if batch.rows else b"Records not found for this query"


def _rows(job: BulkV1Job, content: bytes) -> list[Record]:
    """The records of a batch. An empty CSV cell is no value; `#N/A` is null."""
    if job.content_type == "JSON":
        value = parse_json(content)
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise ApiError(400, "InvalidBatch", "A batch is a list of JSON objects")
        return value
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = next(reader, [])
        lines = [line for line in reader if line]
    except (csv.Error, ValueError) as error:
        raise ApiError(400, "InvalidBatch", f"Failed to parse CSV: {error}") from error
    if any(len(line) != len(header) for line in lines):
        raise ApiError(400, "InvalidBatch", "Failed to parse CSV: the rows and the header differ in length")
    return [
        {name: None if cell == "#N/A" else cell for name, cell in zip(header, line, strict=True) if cell}
        for line in lines
    ]


def _csv_results(saved: list[WrittenRecord]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["Id", "Success", "Created", "Error"])
    for each in saved:
        error = each.error.csv_text if each.error else ""
        writer.writerow([each.id or "", str(not error).lower(), str(each.created and not error).lower(), error])
    return text.getvalue()


def _json_results(saved: list[WrittenRecord]) -> str:
    return to_json(
        [
            {
                "success": each.error is None,
                "created": each.created and each.error is None,
                "id": each.id if each.error is None else None,
                "errors": [{**each.error.json, "extendedErrorDetails": None}] if each.error else [],
            }
            for each in saved
        ]
    )


def batch_result_id(batch: BulkV1Batch) -> str:
    """The id of a query batch's only result."""
    return to_18(RESULT_PREFIX + batch.id[3:15]) or ""
