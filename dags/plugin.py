"""What Airflow must know about this project; found through the entry point `airflow.plugins`.

Every component reads this file, so what only the api-server needs is imported only there.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from dags.partition_keys import FollowingPartitions, PartitionKeyMapper, RequestedPartitions

_NAME = "Migration"
_PREFIX = "/migration"
DOCS = f"{_PREFIX}/docs"  # where the page serves the Data Docs, below Airflow's address


class _MigrationPage:
    """An ASGI application that imports the page at its first request, because no other component needs it."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            from dags.migration_page.app import migration_page  # noqa: PLC0415  see above

            self._app = migration_page()
        await self._app(scope, receive, send)


def _address() -> str:
    """The page's path as the browser sees it; Airflow may be served below a path."""
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/") + _PREFIX + "/"


class KpcPlugin(AirflowPlugin):
    name = "kpc"
    timetables = [RequestedPartitions, FollowingPartitions]  # noqa: RUF012  Airflow's interface
    partition_mappers = [PartitionKeyMapper]  # noqa: RUF012
    fastapi_apps = [{"app": _MigrationPage(), "url_prefix": _PREFIX, "name": _NAME}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": _NAME,
            "href": _address(),
            "url_route": "migration",
            "destination": "nav",
            "nav_top_level": True,
            "icon": f"{_address()}static/icon.svg",
            "icon_dark_mode": f"{_address()}static/icon-dark.svg",
        }
    ]
