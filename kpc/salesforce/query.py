"""Read records: SOQL over REST with exact decimals, and bulk queries streamed to files."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import httpx
from pydantic import Field

from kpc.bounded_body import BodyRefused
from kpc.errors import SalesforceDown, Terminal, UnusableAnswer
from kpc.private_files import make_private
from kpc.retry_policy import retried
from kpc.salesforce.answers import Refused
from kpc.salesforce.constants import BulkJobState
from kpc.salesforce.csv_download import CsvContent, csv_pieces
from kpc.salesforce.job_poller import WAKE_S, JobAnswer
from kpc.salesforce.origins import path_within
from kpc.salesforce.page_reading import PageReader, read_page
from kpc.salesforce.rest import Rest
from kpc.salesforce.shapes import Count, Message, RecordId, Shape, State

_JOBS = "/jobs/query"
_PAGES = "/query"
_LAST_PAGE = "null"  # the literal text that Salesforce sends in Sforce-Locator
_LOCATOR = re.compile(r"[A-Za-z0-9+/=_.-]{1,200}", re.ASCII)
_ROWS = re.compile(r"[0-9]{1,12}", re.ASCII)
_MOST_PAGE_ROWS = 5_000_000  # of an answer that does not say how many it has; Salesforce's own pages are smaller
_MOST_RECORD_BYTES = 65_536  # on average over a page
_HEADER_BYTES = 1 << 20
_SHORTEST_S = 0.005
_TOO_LONG = re.compile("QUERY_TIMEOUT|REQUEST_RUNNING_TOO_LONG|running for too long", re.IGNORECASE)
_REMEDY = (
    "Check with `kpc preflight` that Migration_Partition__c is an External ID, so that it has an index; then repeat."
)


@dataclass(frozen=True, slots=True)
class QueryPages:
    """The result of a bulk query: gzip CSV files, each with its header line, their number of rows and of bytes."""

    files: tuple[Path, ...]
    rows: int
    raw_bytes: int = 0  # of the CSV text: the org allows 1 TB of results in 24 h
    kept: tuple[Any, ...] = ()  # what the reader of the pages kept of each; None: it could not read the page


class QueryTooLong(Terminal):
    """Salesforce ended a query because it took too long: its filter matched too many records, or used no index."""


class _RecordPage(Shape):
    totalSize: Count  # noqa: N815  Salesforce's names
    done: bool
    records: list[dict[str, Any]] = Field(default=[])
    nextRecordsUrl: str | None = None  # noqa: N815


class _CountAnswer(Shape):
    """The answer to COUNT(): the number, and no record."""

    totalSize: Count  # noqa: N815
    done: Literal[True]
    records: list[Any] = Field(max_length=0)


class _NewQuery(Shape):
    id: RecordId


class _QueryJob(Shape):
    id: RecordId
    state: State
    numberRecordsProcessed: Count | None = None  # noqa: N815
    errorMessage: Message | None = None  # noqa: N815


class QueryApi(Rest):
    def query(self, soql: str) -> Iterator[dict[str, Any]]:
        """The records of a SOQL query, page by page, without `attributes`; numbers with a fraction are `Decimal`."""
        with _too_long(soql):
            page = self.ask(_RecordPage, "/query", {"q": soql})
        seen, rows = {""}, 0
        while True:
            rows += len(page.records)
            for record in page.records:
                record.pop("attributes", None)
                yield record
            if page.done and rows == page.totalSize:
                return
            address = page.nextRecordsUrl or ""
            if page.done or address in seen or rows > page.totalSize or not page.records:
                raise UnusableAnswer(
                    f"The pages of a query do not come to their end: {rows:,} of {page.totalSize:,} records were sent.",
                    "Repeat; if it happens again, report it to Salesforce.",
                )
            seen.add(address)
            page = self.ask(_RecordPage, path_within(address, _PAGES))

    def count(self, object_name: str, where: str = "") -> int:
        """The number of an object's records, all or those that meet the SOQL condition `where`."""
        # Both parts come from the catalog and our own code.
        soql = f"SELECT COUNT() FROM {object_name}{f' WHERE {where}' if where else ''}"  # noqa: S608
        with _too_long(soql):
            return self.ask(_CountAnswer, "/query", {"q": soql}).totalSize

    def aggregate(self, soql: str) -> dict[str, Any]:
        """The single record of an aggregate query without GROUP BY; unnamed columns are `expr0`, `expr1` ..."""
        records = list(islice(self.query(soql), 2))
        if len(records) != 1:
            found = "several records" if records else "no record"
            raise UnusableAnswer(f"Salesforce answered an aggregate query with {found} instead of one.", "Repeat.")
        return records[0]

    def bulk_query(
        self,
        soql: str,
        folder: Path,
        *,
        rows: int | None = None,
        reader: PageReader | None = None,
        wait_s: float | None = None,
    ) -> QueryPages:
        """Run a bulk query and write its pages in order to `folder`, which only its owner can enter.

        `rows` is about how many records it will find, if that is known: its end is then noticed sooner. `reader` reads
        each page while it arrives; after an interrupted transfer the page is read again from its beginning.

        Raises `QueryTooLong`, `Terminal` if the job fails for another reason or its row count differs from the
        announced one, `SalesforceDown` if it takes longer than `wait_s` (default: settings.job_timeout_s), `OSError` if
        the disk is full.
        """
        wanted = {"operation": "query", "query": soql}
        # If the response is lost, the request is repeated: an unread query job only costs one of 10,000 a day.
        job_id = retried(lambda: self.send_safely(_NewQuery, "POST", _JOBS, json=wanted)).id
        object_name = soql.partition(" FROM ")[2].partition(" ")[0]
        announced = self._await_query(job_id, object_name, rows, wait_s or self.settings.job_timeout_s)
        pages = self._pages(job_id, folder, reader)
        if announced not in (None, pages.rows):
            raise Terminal(
                f"Bulk query {job_id} announced {announced:,} rows and delivered {pages.rows:,}.",
                "Run the stage again; if it happens twice, report the job id to Salesforce.",
            )
        return pages

    def _await_query(self, job_id: str, object_name: str, rows: int | None, wait_s: float) -> int | None:
        """Follow the job to its end. Returns the number of rows that it announces, if it does."""
        poller, started = self.poller, time.monotonic()
        poller.follow(job_id, f"query {object_name}", rows, in_list=False)
        last: list[_QueryJob] = []

        def ask(_: str) -> JobAnswer:
            last[:] = [self.ask(_QueryJob, f"{_JOBS}/{job_id}")]
            return JobAnswer(job_id, last[0].state, last[0].numberRecordsProcessed)

        try:
            while not (seen := poller.poll(job_id, ask)).is_final:
                if time.monotonic() - started > wait_s:
                    raise SalesforceDown(
                        f"Bulk query {job_id} is still {seen.state} after {wait_s:,.0f} s.",
                        "Run the stage again later.",
                    )
                time.sleep(min(max(seen.wait_s, _SHORTEST_S), WAKE_S))
        finally:
            poller.forget(job_id)
        job = last[0]
        if job.state is not BulkJobState.JOB_COMPLETE:
            if _TOO_LONG.search(job.errorMessage or ""):
                raise QueryTooLong(f"Bulk query {job_id} of {object_name} took too long: {job.errorMessage}.", _REMEDY)
            raise Terminal(
                f"Bulk query {job_id} ended as {job.state}: {job.errorMessage or 'no reason given'}.",
                "Check that the integration user may read these fields (`kpc preflight`), then run it again.",
            )
        return job.numberRecordsProcessed

    def _pages(self, job_id: str, folder: Path, reader: PageReader | None) -> QueryPages:
        make_private(folder)
        files: list[Path] = []
        pages: list[_SavedPage] = []
        locator, seen = "", {""}
        while locator != _LAST_PAGE:
            file = folder / f"page-{len(files) + 1:05d}.csv.gz"
            params = {"locator": locator} if locator else None
            page = retried(lambda p=params, f=file: self._page(job_id, p, f, reader))  # type: ignore[misc]
            pages.append(page)
            files.append(file)
            locator = page.next_locator
            if locator in seen:
                raise UnusableAnswer(f"The pages of bulk query {job_id} do not come to an end.", "Run the stage again.")
            seen.add(locator)
        kept = tuple(page.kept for page in pages) if reader else ()
        return QueryPages(tuple(files), sum(page.rows for page in pages), sum(page.raw_bytes for page in pages), kept)

    def _page(self, job_id: str, params: dict[str, str] | None, file: Path, reader: PageReader | None) -> _SavedPage:
        """Write one page and compare its rows with those announced; each attempt starts from the beginning."""
        with self.stream(f"{_JOBS}/{job_id}/results", params) as response:
            announced = _announced(response)
            most_rows = _MOST_PAGE_ROWS if announced is None else announced
            content = CsvContent(csv_pieces(response, file, _HEADER_BYTES + most_rows * _MOST_RECORD_BYTES))
            page = read_page(content, file, reader)
            if announced not in (None, page.rows):
                raise SalesforceDown(
                    f"A page of bulk query {job_id} has {page.rows:,} of its {announced:,} rows.",
                    "The transfer was interrupted; it is repeated.",
                )
            locator = response.headers.get("Sforce-Locator", _LAST_PAGE)
            if not _LOCATOR.fullmatch(locator):
                raise BodyRefused("names a next page in a way that Salesforce does not")
            return _SavedPage(page.rows, content.raw_bytes, locator, page.kept)


@dataclass(frozen=True, slots=True)
class _SavedPage:
    rows: int
    raw_bytes: int
    next_locator: str
    kept: Any


@contextmanager
def _too_long(soql: str) -> Iterator[None]:
    """Give a query that Salesforce ended for its time a class of its own."""
    try:
        yield
    except Refused as refused:
        if not _TOO_LONG.search(refused.code):
            raise
        object_name = soql.partition(" FROM ")[2].partition(" ")[0]
        raise QueryTooLong(f"A query of {object_name} took too long: {refused.reason}", _REMEDY) from None


def _announced(response: httpx.Response) -> int | None:
    """The number of rows that a page's header announces."""
    text = response.headers.get("Sforce-NumberOfRecords")
    if text is None:
        return None
    if not _ROWS.fullmatch(text.strip()):
        raise BodyRefused("announces a number of rows that is none")
    return int(text)
