"""The parts of a running emulator, and access to them from a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from kpc.emulators.salesforce.bulk.processing import Processor
from kpc.emulators.salesforce.bulk.query_worker import QueryWorker
from kpc.emulators.salesforce.bulk_v1.jobs import BulkV1Jobs
from kpc.emulators.salesforce.http.faults import HttpFaults
from kpc.emulators.salesforce.oauth.tokens import Tokens
from kpc.emulators.salesforce.org.org import Org
from kpc.emulators.salesforce.soql.queries import Queries


@dataclass(slots=True)
class SalesforceEmulator:
    """Made once by `command`; the gate around all endpoints and the functions below take their part of it."""

    org: Org
    tokens: Tokens
    processor: Processor
    queries: Queries
    query_worker: QueryWorker
    faults: HttpFaults
    bulk_v1_jobs: BulkV1Jobs
    is_verbose: bool = False
    reset: Callable[[], dict[str, object]] | None = None  # a new org in place of this one; answers how to log in to it

    def serve(self, other: SalesforceEmulator) -> None:
        """Serve the other's org from now on. Requests to the previous org may fail."""
        self.org, self.tokens, self.faults = other.org, other.tokens, other.faults
        self.queries, self.bulk_v1_jobs = other.queries, other.bulk_v1_jobs
        self.processor, self.query_worker = other.processor, other.query_worker

    def close(self) -> None:
        """Stop after the current batches."""
        self.processor.stop()
        self.query_worker.stop()
        self.org.close()


def _emulator_of(request: Request) -> SalesforceEmulator:
    emulator: SalesforceEmulator = request.app.state.emulator
    return emulator


def org_of(request: Request) -> Org:
    return _emulator_of(request).org


def access_tokens_of(request: Request) -> Tokens:
    return _emulator_of(request).tokens


def processor_of(request: Request) -> Processor:
    return _emulator_of(request).processor


def queries_of(request: Request) -> Queries:
    return _emulator_of(request).queries


def query_worker_of(request: Request) -> QueryWorker:
    return _emulator_of(request).query_worker


def reset_of(request: Request) -> Callable[[], dict[str, object]] | None:
    return _emulator_of(request).reset


def faults_of(request: Request) -> HttpFaults:
    return _emulator_of(request).faults


def bulk_v1_jobs_of(request: Request) -> BulkV1Jobs:
    return _emulator_of(request).bulk_v1_jobs


def user_of(request: Request) -> str:
    """The id of the user whose token came with the request."""
    user_id: str = request.scope["state"]["user_id"]
    return user_id
