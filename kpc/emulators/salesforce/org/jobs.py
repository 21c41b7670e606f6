"""Bulk jobs: their facts, and the registry that keeps them across a restart."""

from __future__ import annotations

import json
import shutil
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from kpc.emulators.salesforce.errors import ApiError, not_found
from kpc.emulators.salesforce.org.clock import iso_offset
from kpc.emulators.salesforce.org.ids import make_id, to_18
from kpc.emulators.salesforce.org.storage import Storage

JOB_PREFIX = "750"
OPEN, UPLOAD_COMPLETE, IN_PROGRESS = "Open", "UploadComplete", "InProgress"
JOB_COMPLETE, FAILED, ABORTED = "JobComplete", "Failed", "Aborted"
TERMINAL = frozenset({JOB_COMPLETE, FAILED, ABORTED})
DELIMITERS = {"COMMA": ",", "TAB": "\t", "PIPE": "|", "SEMICOLON": ";", "CARET": "^", "BACKQUOTE": "`"}
LINE_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}


@dataclass(slots=True)
class Job:
    """An ingest or a query job. Times are org time in seconds since the epoch, durations in milliseconds."""

    id: str
    kind: str  # ingest | query
    operation: str
    sobject: str
    created_by: str
    created: float
    api_version: str
    external_id_field: str | None = None
    query: str | None = None
    column_delimiter: str = "COMMA"
    line_ending: str = "LF"
    assignment_rule_id: str | None = None
    state: str = OPEN
    modified: float = 0.0
    closed: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    is_uploaded: bool = False
    processed: int = 0
    failed: int = 0
    batches: int = 0
    retries: int = 0
    total_ms: int = 0
    active_ms: int = 0
    error_message: str = ""
    result_bytes: int = 0  # of a query at the real size
    shown_processed: int = field(default=-1)  # while a batch is paced, what a poll sees
    is_uploading: bool = False

    @property
    def separator(self) -> str:
        return DELIMITERS[self.column_delimiter]

    @property
    def line_end(self) -> str:
        return LINE_ENDINGS[self.line_ending]

    @property
    def is_over(self) -> bool:
        return self.state in TERMINAL

    def short_info(self) -> dict[str, object]:
        """The answer to a change of state."""
        info: dict[str, object] = {
            "id": self.id,
            "operation": self.operation,
            "object": self.sobject,
            "createdById": self.created_by,
            "createdDate": _iso(self.created),
            "systemModstamp": _iso(self.modified or self.created),
            "state": self.state,
        }
        if self.external_id_field:
            info["externalIdFieldName"] = self.external_id_field
        if self.assignment_rule_id:
            info["assignmentRuleId"] = self.assignment_rule_id
        return info | {
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(self.api_version),
        }

    def info(self) -> dict[str, object]:
        """The answer to create: the short one and how the content is spelled."""
        info = self.short_info()
        if self.kind == "ingest":
            info["contentUrl"] = f"services/data/v{self.api_version}/jobs/ingest/{self.id}/batches"
        return info | {"lineEnding": self.line_ending, "columnDelimiter": self.column_delimiter}

    def full_info(self) -> dict[str, object]:
        """The answer to a poll."""
        is_query = self.kind == "query"
        info = self.info() | {"jobType": "V2Query" if is_query else "V2Ingest"}
        shown = self.shown_processed if self.shown_processed >= 0 else self.processed
        info |= {"numberRecordsProcessed": shown, "retries": self.retries, "totalProcessingTime": self.total_ms}
        if not is_query:
            info |= {
                "numberRecordsFailed": self.failed,
                "apiActiveProcessingTime": self.active_ms,
                "apexProcessingTime": 0,
            }
        info["isPkChunkingSupported"] = is_query
        if self.state == FAILED:
            info["errorMessage"] = self.error_message
        return info

    def list_info(self) -> dict[str, object]:
        """The entry in the list of jobs: no counters."""
        kinds = {"jobType": "V2Query" if self.kind == "query" else "V2Ingest", "isPkChunkingSupported": False}
        return self.info() | kinds


def _iso(seconds: float) -> str:
    return iso_offset(datetime.fromtimestamp(seconds, UTC))


class JobRegistry:
    """All jobs of the org. Facts live in memory and are written through to the database."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage = storage
        self._folder = folder
        self.lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        with storage.reading() as session:
            for (body,) in session.run("SELECT body FROM emulator.job ORDER BY id"):
                job = Job(**json.loads(body))
                self._jobs[job.id] = job
            done = session.run("SELECT job_id, count(*), sum(rows), sum(failed) FROM emulator.batch GROUP BY job_id")
        for job_id, batches, rows, failed in done:
            if known := self._jobs.get(job_id):
                known.batches, known.processed, known.failed = batches, int(rows), int(failed)

    def __iter__(self) -> Iterator[Job]:
        with self.lock:
            return iter(list(self._jobs.values()))

    @contextmanager
    def changing(self, job: Job) -> Iterator[None]:
        """Hold the lock on the job's state."""
        with self.lock:
            lock = self._locks[job.id]
        with lock:
            yield

    def new_id(self) -> str:
        while True:
            with self._storage.writing_jobs() as session:
                job_id = make_id(JOB_PREFIX, session.run("SELECT nextval('emulator.job_number')")[0][0])
            if job_id not in self._jobs:  # a kill may set a sequence back
                return job_id

    def add(self, job: Job) -> None:
        self.folder(job.id).mkdir(parents=True, exist_ok=True)
        with self.lock:
            self._jobs[job.id] = job
        self.save(job)

    def find(self, job_id: str, kind: str) -> Job:
        """The job, by its id of 15 or 18 characters. 404 for an unknown one, or one of the other kind."""
        job = self._jobs.get(to_18(job_id) or "")
        if job is None or job.kind != kind:
            raise not_found()
        return job

    def save(self, job: Job) -> None:
        body = json.dumps(asdict(job) | {"is_uploading": False, "shown_processed": -1})
        with self._storage.writing_jobs() as session:
            session.run("INSERT OR REPLACE INTO emulator.job VALUES (?, ?, ?)", [job.id, job.kind, body])

    def remove(self, job: Job) -> None:
        with self.lock:
            self._jobs.pop(job.id, None)
            self._locks.pop(job.id, None)
        with self._storage.writing_jobs() as session:
            session.run("DELETE FROM emulator.job WHERE id = ?", [job.id])
        shutil.rmtree(self.folder(job.id), ignore_errors=True)

    def folder(self, job_id: str) -> Path:
        """Where the job's content and results are."""
        return self._folder / job_id


def wrong_state(message: str) -> ApiError:
    return ApiError(400, "INVALIDJOBSTATE", message)
