"""The Salesforce client: Bulk API 2.0 ingest and query, SOQL, describe, limits. The only door to the org."""

from __future__ import annotations

import httpx

from kpc.salesforce.answers import AllowanceRefused, Refused
from kpc.salesforce.collections import Collections, Saved
from kpc.salesforce.describe import Describe
from kpc.salesforce.ingest import Encoding, Ingest, JobInfo, Results, State, failed_job
from kpc.salesforce.limits import Limit, Limits
from kpc.salesforce.query import Query, QueryPages
from kpc.salesforce.row_errors import RowError, parse_row_error
from kpc.settings import SalesforceSettings

__all__ = [
    "AllowanceRefused",
    "Encoding",
    "JobInfo",
    "Limit",
    "QueryPages",
    "Refused",
    "Results",
    "RowError",
    "Salesforce",
    "Saved",
    "State",
    "connect",
    "failed_job",
    "parse_row_error",
]


class Salesforce(Ingest, Query, Collections, Describe, Limits):
    """One org, logged in; each parent class is one of its interfaces. Safe to share between threads."""


def connect(settings: SalesforceSettings, transport: httpx.BaseTransport | None = None) -> Salesforce:
    """Log in. Raises `ConfigError` with what to correct, `SalesforceDown` when nobody answers.

    `transport` is the last hop, which tests exchange to lose replies; None for the network.
    """
    return Salesforce(settings, transport)
