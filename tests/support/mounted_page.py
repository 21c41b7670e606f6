"""The Migration page mounted in a bare application, for a visitor of the test's choice instead of Airflow's log-in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow.api_fastapi.core_api.security import get_user
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dags.migration_page.access import OUR_HEADER, Visitor
from dags.migration_page.app import migration_page
from dags.migration_page.ledger_reading import LedgerReader
from kpc.catalog import TABLES
from kpc.settings import Settings

ALL_TABLES = frozenset(TABLES)
OURS = {OUR_HEADER: "1"}


def visitor(name: str = "malee", **rights: Any) -> Visitor:
    """Somebody who may do everything, but for what `rights` says."""
    whole = dict.fromkeys(("tables", "startable", "pausable", "certificates"), ALL_TABLES)
    return Visitor(name, **{**whole, "may_read_docs": True, **rights})


@dataclass(frozen=True, slots=True)
class GivenAccess:
    """Lets everybody in as the same visitor."""

    who: Visitor

    def visitor(self, _request: object, _user: object) -> Visitor:
        return self.who

    def login_url(self, path: str) -> str:
        return f"/auth/login?next={path}"


def mounted(settings: Settings, who: Visitor | None = None, **reader: Any) -> TestClient:
    """A client whose base is the page."""
    made = LedgerReader(lambda: settings, **{"active": _nothing_runs, "unserved": _nothing_waits, **reader})
    page = migration_page(GivenAccess(who or visitor()), made)
    page.dependency_overrides[get_user] = _somebody
    outer = FastAPI()
    outer.mount("/migration", page)
    return TestClient(outer, base_url="http://page.test/migration/", follow_redirects=False)


def _nothing_runs() -> dict[Any, Any]:
    """Airflow's runs that have not ended: there is no Airflow."""
    return {}


def _nothing_waits() -> list[dict[str, Any]]:
    """Queues without a worker: the same."""
    return []


_somebody: Callable[[], object] = object
