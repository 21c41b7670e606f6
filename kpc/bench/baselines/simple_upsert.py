"""The most common client: simple-salesforce's Bulk API 2.0 upsert of a CSV file."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from simple_salesforce.api import Salesforce


class _Plain(HTTPAdapter):
    """Switches to plain HTTP, because simple-salesforce always uses https:// and the emulator serves HTTP."""

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        request.url = (request.url or "").replace("https://", "http://", 1)
        return super().send(request, *args, **kwargs)


def upsert_file(
    base_url: str, token: str, object_name: str, key: str, csv_file: str, *, with_results: bool = False
) -> int:
    """Upload a plain CSV file in jobs of the library's chosen size, and wait until they end.

    Returns the number of processed rows. `with_results`: also fetch the result of each row.
    """
    session = Session()
    session.trust_env = False
    session.mount("https://", _Plain())
    org = Salesforce(instance=urlsplit(base_url).netloc, session_id=token, session=session)
    bulk: Any = getattr(org.bulk2, object_name)
    results = bulk.upsert(csv_file=csv_file, external_id_field=key, wait=1)
    for result in results if with_results else ():
        bulk.get_all_ingest_records(result["job_id"])
    return sum(int(result["numberRecordsProcessed"]) for result in results)
