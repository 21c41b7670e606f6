"""The three result files of an ingest job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.salesforce.app import org_of
from kpc.emulators.salesforce.bulk.csv_input import parse_content, read_batches, read_header
from kpc.emulators.salesforce.bulk.ingest import find_job
from kpc.emulators.salesforce.bulk.processing import CONTENT
from kpc.emulators.salesforce.bulk.result_rows import as_lines, text_of_lines
from kpc.emulators.salesforce.errors import ApiError, not_found
from kpc.emulators.salesforce.http.wire import csv_answer
from kpc.emulators.salesforce.org.jobs import Job
from kpc.emulators.salesforce.org.org import Org


async def results(request: Request) -> Response:
    """GET successfulResults, failedResults or unprocessedrecords, in any case."""
    kind = request.path_params["results"].lower()
    makers = {"successfulresults": _successes, "failedresults": _failures, "unprocessedrecords": _unprocessed}
    if kind not in makers:
        raise not_found()
    org, job = org_of(request), find_job(request)
    if not job.is_over:
        raise ApiError(400, "INVALIDJOBSTATE", f"InvalidJobState : the job is {job.state}; it has no results yet")
    return csv_answer(request, makers[kind](org, job))


def _successes(org: Org, job: Job) -> Iterator[bytes]:
    return _result_files(org, job, "success", ("sf__Id", "sf__Created"))


def _failures(org: Org, job: Job) -> Iterator[bytes]:
    return _result_files(org, job, "failed", ("sf__Id", "sf__Error"))


def _result_files(org: Org, job: Job, kind: str, own: tuple[str, str]) -> Iterator[bytes]:
    yield _header_line(org.jobs.folder(job.id), job, own)
    folder = org.jobs.folder(job.id)
    for number in range(job.batches):
        path = folder / f"{kind}-{number:05d}.csv"
        if path.exists():
            with path.open("rb") as file:
                yield from iter(lambda: file.read(1 << 20), b"")


def _unprocessed(org: Org, job: Job) -> Iterator[bytes]:
    """The rows after the last batch that was processed, as they were uploaded."""
    yield _header_line(org.jobs.folder(job.id), job, ())
    path = org.jobs.folder(job.id) / CONTENT
    hidden = "Quota" in job.error_message and org.switches.over_quota_rows == "unrecorded"
    if hidden or job.state == "JobComplete" or not path.exists():
        return
    if job.batches == 0:
        with path.open("rb") as file:
            file.readline()
            yield from iter(lambda: file.read(1 << 20), b"")
        return
    for rows in read_batches(parse_content(path, job, len(read_header(path, job))), job.batches):
        yield bytes(text_of_lines(as_lines(rows.columns, job, org.switches.result_quotes)))


def _header_line(folder: Path, job: Job, own: tuple[str, ...]) -> bytes:
    """The result's own columns, quoted, and the header as it was uploaded."""
    path = folder / CONTENT
    uploaded = b""
    if path.exists():
        with path.open("rb") as file:
            uploaded = file.readline(1 << 20).removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
    names = job.separator.join(f'"{name}"' for name in own).encode()
    joined = job.separator.encode().join(part for part in (names, uploaded) if part)
    return joined + job.line_end.encode()
