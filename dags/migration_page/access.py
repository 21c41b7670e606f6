"""Who may see and do what on the page: decided by Airflow's own log-in and permissions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException, Request

from kpc.catalog import TABLES, Table
from kpc.stages.names import DATA_DOCS, RECONCILED, SF_LOADED, STAGES, asset_name

OUR_HEADER = "X-Kpc-Page"  # another site needs a preflight request to send it, which Airflow refuses


@dataclass(frozen=True, slots=True)
class Visitor:
    """A logged-in user. `tables` may be seen; runs of `startable` may be started, loads of `pausable` paused."""

    name: str
    tables: frozenset[str]
    startable: frozenset[str]
    pausable: frozenset[str]
    certificates: frozenset[str]
    may_read_docs: bool
    token: str = ""

    @property
    def actor(self) -> str:
        """The user's name in the audit log."""
        return f"airflow:{self.name}"

    def rights(self) -> dict[str, Any]:
        """What the page needs to know, to show only what the user may do."""
        return {
            "name": self.name,
            "may_start": sorted(self.startable),
            "may_pause": sorted(self.pausable),
            "may_pause_all": self.pausable >= TABLES.keys(),
            "may_read_docs": self.may_read_docs,
            "may_read_certificates": sorted(self.certificates),
        }


class AirflowAccess:
    """Asks Airflow's auth manager about the DAGs that do the work: whoever may start a DAG's run may start it here.

    see a table    read the runs of its four DAGs
    start a run    create a run of that DAG
    pause loads    edit the DAG that loads the table, as for Airflow's own pause
    certificates   read the DAG that reconciles the table
    Data Docs      read the DAG that builds them
    """

    def visitor(self, request: Request, user: Any) -> Visitor:
        runs = DagAccessEntity.RUN
        return Visitor(
            name=user.get_name(),
            tables=_allowed("GET", runs, user, STAGES),
            startable=_allowed("POST", runs, user, STAGES),
            pausable=_allowed("PUT", None, user, (SF_LOADED,)),
            certificates=_allowed("GET", runs, user, (RECONCILED,)),
            may_read_docs=_may("GET", runs, user, (DATA_DOCS,)),
            token=_token(request),
        )

    def login_url(self, path: str) -> str:
        return get_auth_manager().get_url_login(next_url=path)


def _allowed(method: Any, entity: DagAccessEntity | None, user: Any, stages: Iterable[str]) -> frozenset[str]:
    return frozenset(name for name, table in TABLES.items() if _may(method, entity, user, _dags(table, stages)))


def _dags(table: Table, stages: Iterable[str]) -> Iterator[str]:
    return (asset_name(table, stage) for stage in stages)


def _may(method: Any, entity: DagAccessEntity | None, user: Any, dags: Iterable[str]) -> bool:
    names = list(dags)
    # A DAG has a team only in an Airflow with several teams; only then does this cost a query.
    teams = DagModel.get_dag_id_to_team_name_mapping(names) if conf.getboolean("core", "multi_team") else {}
    return get_auth_manager().batch_is_authorized_dag(
        [
            {"method": method, "access_entity": entity, "details": DagDetails(id=name, team_name=teams.get(name))}
            for name in names
        ],
        user=user,
    )


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else request.cookies.get(COOKIE_NAME_JWT_TOKEN, "")


def visitor(request: Request, user: GetUserDep) -> Visitor:
    """The user of a request; 401 without a session, 403 for a user who may see no table."""
    found: Visitor = request.app.state.access.visitor(request, user)
    if not found.tables:
        raise HTTPException(HTTPStatus.FORBIDDEN, "You may not see the runs of any table's DAGs.")
    return found


def refuse_other_sites(request: Request) -> None:
    """403 for a change that another site's page could have sent with the user's cookie."""
    origin = request.headers.get("origin")
    is_foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    is_foreign |= request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
    if is_foreign or OUR_HEADER not in request.headers:
        raise HTTPException(
            HTTPStatus.FORBIDDEN, f"Changes are accepted only from this page, or with the header {OUR_HEADER}."
        )


VisitorDep = Annotated[Visitor, Depends(visitor)]
SameSite = Depends(refuse_other_sites)
