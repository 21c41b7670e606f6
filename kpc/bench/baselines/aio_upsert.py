"""The best other Python client that could be had: aiosalesforce's Bulk API 2.0 upsert."""

from __future__ import annotations

import asyncio
import csv
from pathlib import Path

from aiosalesforce import ClientCredentialsFlow, Salesforce
from httpx import AsyncClient, Timeout


def upsert_file(base_url: str, login: dict[str, str], object_name: str, key: str, csv_file: str) -> int:
    """Upsert the rows of a plain CSV file and read the results; answers the rows taken."""
    return asyncio.run(_upsert(base_url, login, object_name, key, csv_file))


async def _upsert(base_url: str, login: dict[str, str], object_name: str, key: str, csv_file: str) -> int:
    auth = ClientCredentialsFlow(client_id=login["client_id"], client_secret=login["client_secret"])
    async with AsyncClient(timeout=Timeout(600)) as http:
        org = Salesforce(http, base_url=base_url, auth=auth)
        with Path(csv_file).open(encoding="utf-8", newline="") as text:  # noqa: ASYNC230  nothing else runs here
            result = await org.bulk_v2.upsert(object_name, csv.DictReader(text), key)
    return len(result.successful_results)
