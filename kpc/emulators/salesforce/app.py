"""What one running emulator consists of, as the request handlers see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request

from kpc.emulators.salesforce.classic_jobs import ClassicJobs
from kpc.emulators.salesforce.faults import Faults
from kpc.emulators.salesforce.oauth import Tokens
from kpc.emulators.salesforce.org import Org
from kpc.emulators.salesforce.processing import Processor
from kpc.emulators.salesforce.query import Queries

if TYPE_CHECKING:
    from kpc.emulators.salesforce.query_jobs import QueryWorker


@dataclass(slots=True)
class Emulator:
    org: Org
    tokens: Tokens
    processor: Processor
    queries: Queries
    query_worker: QueryWorker
    faults: Faults
    classic_jobs: ClassicJobs
    is_verbose: bool = False
    reset: Callable[[], dict[str, object]] | None = None  # a new org in place of this one; answers how to log in to it

    def serve(self, other: Emulator) -> None:
        """Serve the other's org from now on. What is still asked of the one before may fail."""
        self.org, self.tokens, self.faults = other.org, other.tokens, other.faults
        self.queries, self.classic_jobs = other.queries, other.classic_jobs
        self.processor, self.query_worker = other.processor, other.query_worker

    def close(self) -> None:
        """End after the batches at hand."""
        self.processor.stop()
        self.query_worker.stop()
        self.org.close()

    def user_of(self, request: Request) -> str:
        """The id of the user whose token came with the request."""
        user_id: str = request.scope["state"]["user_id"]
        return user_id
