"""The Salesforce client: Bulk API 2.0 ingest and query, SOQL, composite collections, describe, limits.

The only package that sends requests to the org. It does not depend on the catalog, the ledger or the file layout:
callers pass object and field names, typed records, and paths.
"""

from __future__ import annotations

import httpx

from kpc.salesforce.answers import AllowanceRefused, Refused
from kpc.salesforce.collections import CollectionsApi, SavedRecord
from kpc.salesforce.constants import BulkJobState, ResultKind
from kpc.salesforce.describe import DescribeApi
from kpc.salesforce.ingest import Encoding, IngestApi, JobInfo, failed_job
from kpc.salesforce.limits import Limit, LimitsApi
from kpc.salesforce.query import QueryPages, QueryTooLong
from kpc.salesforce.row_errors import RowError, parse_row_error
from kpc.salesforce.selectivity import Selectivity
from kpc.salesforce.setup import ExplainedPlan, SetupApi
from kpc.settings import SalesforceSettings

__all__ = [
    "AllowanceRefused",
    "BulkJobState",
    "Encoding",
    "ExplainedPlan",
    "JobInfo",
    "Limit",
    "QueryPages",
    "QueryTooLong",
    "Refused",
    "ResultKind",
    "RowError",
    "Salesforce",
    "SavedRecord",
    "Selectivity",
    "connect",
    "failed_job",
    "parse_row_error",
]


class Salesforce(IngestApi, CollectionsApi, DescribeApi, LimitsApi, SetupApi):
    """One org, logged in; each parent class is one of its interfaces. Safe to share between threads."""


def connect(settings: SalesforceSettings, transport: httpx.BaseTransport | None = None) -> Salesforce:
    """Log in. Raises `ConfigError` with what to correct, `SalesforceDown` if there is no response.

    `transport` replaces the network, for example in tests that drop responses.
    """
    return Salesforce(settings, transport)
