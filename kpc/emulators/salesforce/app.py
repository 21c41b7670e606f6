"""What one running emulator consists of, as the request handlers see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request

from kpc.emulators.salesforce.bulk.processing import Processor
from kpc.emulators.salesforce.bulk_v1.jobs import BulkV1Jobs
from kpc.emulators.salesforce.http.faults import HttpFaults
from kpc.emulators.salesforce.oauth.tokens import Tokens
from kpc.emulators.salesforce.org.org import Org
from kpc.emulators.salesforce.soql.queries import Queries

if TYPE_CHECKING:
    from kpc.emulators.salesforce.bulk.query_jobs import QueryWorker


@dataclass(slots=True)
class SalesforceEmulator:
    org: Org
    tokens: Tokens
    processor: Processor
    queries: Queries
    query_worker: QueryWorker
    faults: HttpFaults
    classic_jobs: BulkV1Jobs
    is_verbose: bool = False

    def user_of(self, request: Request) -> str:
        """The id of the user whose token came with the request."""
        user_id: str = request.scope["state"]["user_id"]
        return user_id
