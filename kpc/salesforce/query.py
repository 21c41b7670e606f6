"""Read records: SOQL over REST with exact decimals, and bulk queries streamed to files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpc.errors import SalesforceDown, Terminal
from kpc.gzip_files import open_gzip_to_write
from kpc.salesforce.constants import BulkJobState
from kpc.salesforce.job_poller import WAKE_S, JobAnswer
from kpc.salesforce.rest import Rest, retried

_JOBS = "/jobs/query"
_LAST_PAGE = "null"  # the literal text that Salesforce sends in Sforce-Locator
_BLOCK_BYTES = 1 << 20
_SHORTEST_S = 0.005


@dataclass(frozen=True, slots=True)
class QueryPages:
    """The result of a bulk query: gzip CSV files, each with its header line, and their total number of rows."""

    files: tuple[Path, ...]
    rows: int


class QueryApi(Rest):
    def query(self, soql: str) -> Iterator[dict[str, Any]]:
        """The records of a SOQL query, page by page, without `attributes`; numbers with a fraction are `Decimal`."""
        page = self.ask("/query", {"q": soql})
        while True:
            for record in page["records"]:
                record.pop("attributes", None)
                yield record
            if page["done"]:
                return
            page = self.ask(page["nextRecordsUrl"])

    def count(self, object_name: str, where: str = "") -> int:
        """The number of an object's records, all or those that meet the SOQL condition `where`."""
        # Both parts come from the catalog and our own code.
        soql = f"SELECT COUNT() FROM {object_name}{f' WHERE {where}' if where else ''}"  # noqa: S608
        return int(self.ask("/query", {"q": soql})["totalSize"])

    def aggregate(self, soql: str) -> dict[str, Any]:
        """The single record of an aggregate query without GROUP BY; unnamed columns are `expr0`, `expr1` ..."""
        (record,) = self.query(soql)
        return record

    def bulk_query(
        self, soql: str, folder: Path, *, rows: int | None = None, wait_s: float | None = None
    ) -> QueryPages:
        """Run a bulk query and write its pages in order to `folder`, which only its owner can enter.

        `rows` is about how many records it will find, if that is known: its end is then noticed sooner.

        Raises `Terminal` if the job fails or its row count differs from the announced one, `SalesforceDown` if it takes
        longer than `wait_s` (default: settings.job_timeout_s), `OSError` if the disk is full.
        """
        # If the response is lost, the request is repeated: an unread query job only costs one of 10,000 a day.
        job_id = self.tell_safely("POST", _JOBS, {"operation": "query", "query": soql})["id"]
        object_name = soql.partition(" FROM ")[2].partition(" ")[0]
        announced = self._await_query(job_id, object_name, rows, wait_s or self.settings.job_timeout_s)
        pages = self._pages(job_id, folder)
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
        last: dict[str, Any] = {}

        def ask(_: str) -> JobAnswer:
            last.update(self.ask(f"{_JOBS}/{job_id}"))
            processed = last.get("numberRecordsProcessed")
            return JobAnswer(job_id, BulkJobState(last["state"]), None if processed is None else int(processed))

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
        if seen.state is not BulkJobState.JOB_COMPLETE:
            raise Terminal(
                f"Bulk query {job_id} ended as {seen.state}: {last.get('errorMessage') or 'no reason given'}.",
                "Check that the integration user may read these fields (`kpc preflight`), then run it again.",
            )
        processed = last.get("numberRecordsProcessed")
        return None if processed is None else int(processed)

    def _pages(self, job_id: str, folder: Path) -> QueryPages:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        files: list[Path] = []
        rows, locator = 0, ""
        while locator != _LAST_PAGE:
            file = folder / f"page-{len(files) + 1:05d}.csv.gz"
            params = {"locator": locator} if locator else None
            page_rows, locator = retried(lambda p=params, f=file: self._page(job_id, p, f))  # type: ignore[misc]
            rows += page_rows
            files.append(file)
        return QueryPages(tuple(files), rows)

    def _page(self, job_id: str, params: dict[str, str] | None, file: Path) -> tuple[int, str]:
        """Write one page and compare its rows with those announced; each attempt starts from the beginning.

        httpx stops after the first member of a gzip body, so a page may end early without an error.
        """
        with self.stream(f"{_JOBS}/{job_id}/results", params) as response:
            counter = RecordCounter()
            with open_gzip_to_write(file) as packed:
                for block in response.iter_bytes(_BLOCK_BYTES):
                    counter.feed(block)
                    packed.write(block)
            announced = response.headers.get("Sforce-NumberOfRecords")
            if announced is not None and int(announced) != counter.rows:
                raise SalesforceDown(
                    f"A page of bulk query {job_id} has {counter.rows:,} of its {int(announced):,} rows.",
                    "The transfer was interrupted; it is repeated.",
                )
            return counter.rows, response.headers.get("Sforce-Locator", _LAST_PAGE)


class RecordCounter:
    """Counts the records of a streamed CSV with a header line; a line break inside quotes does not end a record."""

    def __init__(self) -> None:
        self._line_ends = 0
        self._is_quoted = False
        self._ends_open = False

    def feed(self, block: bytes) -> None:
        if not block:
            return
        for number, part in enumerate(block.split(b'"')):
            if number:
                self._is_quoted = not self._is_quoted
            if not self._is_quoted:
                self._line_ends += part.count(b"\n")
        self._ends_open = not block.endswith(b"\n")

    @property
    def rows(self) -> int:
        return max(0, self._line_ends + self._ends_open - 1)
