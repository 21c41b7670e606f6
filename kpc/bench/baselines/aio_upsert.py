"""The fastest other Python client we found: aiosalesforce's Bulk API 2.0 upsert."""

from __future__ import annotations

import asyncio
import csv
from pathlib import Path

from aiosalesforce import ClientCredentialsFlow, Salesforce
from httpx import URL, AsyncClient, AsyncHTTPTransport, Request, Response, Timeout


class _ToEmulator(AsyncHTTPTransport):
    """Redirects requests to the emulator, because aiosalesforce accepts only Salesforce's own host names."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base = URL(base_url)

    async def handle_async_request(self, request: Request) -> Response:
        request.url = request.url.copy_with(scheme="http", host=self._base.host, port=self._base.port)
        return await super().handle_async_request(request)


def upsert_file(base_url: str, login: dict[str, str], object_name: str, key: str, csv_file: str) -> int:
    """Upsert the rows of a plain CSV file and read the results. Returns the number of accepted rows."""
    return asyncio.run(_upsert(base_url, login, object_name, key, csv_file))


async def _upsert(base_url: str, login: dict[str, str], object_name: str, key: str, csv_file: str) -> int:
    auth = ClientCredentialsFlow(client_id=login["client_id"], client_secret=login["client_secret"])
    async with AsyncClient(timeout=Timeout(600), transport=_ToEmulator(base_url)) as http:
        org = Salesforce(http, base_url="https://kpc.my.salesforce.com", auth=auth)
        with Path(csv_file).open(encoding="utf-8", newline="") as text:  # noqa: ASYNC230  nothing else runs here
            result = await org.bulk_v2.upsert(object_name, csv.DictReader(text), key)
    return len(result.successful_results)
