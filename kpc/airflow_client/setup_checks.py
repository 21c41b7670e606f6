"""Checks of Airflow before a campaign: its parts, its DAG files, and its pools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from kpc.airflow_client.api import AirflowApi
from kpc.airflow_client.obstacles import how_to_make, stopped_parts
from kpc.campaign.system_check import CheckSubject, SystemCheck
from kpc.errors import KpcError
from kpc.stages.names import LOAD_POOL, POOLS, Pool


def check_airflow(api: AirflowApi, *, jobs_in_flight: int = LOAD_POOL.slots) -> Iterator[SystemCheck]:
    """An API that cannot be reached, or a refused log-in, is a warning: loads do not need it.

    The pool of the ingest tasks must have as many slots as ingest jobs are allowed: with more, tasks start only to find
    no free job slot; with fewer, the org has less to do than it could.
    """
    about = CheckSubject("Airflow", api.url)
    try:
        stopped = list(stopped_parts(api))
        for obstacle in stopped:
            yield about.failed("parts", obstacle.what, obstacle.remedy)
        if not stopped:
            yield about.ok("parts", "scheduler, triggerer and DAG processor run")
        yield _dag_files(api, about)
        wanted = [replace(pool, slots=jobs_in_flight) if pool is LOAD_POOL else pool for pool in POOLS]
        yield from _pools(api, wanted)
    except KpcError as error:
        what = f"Airflow's API cannot be asked, so its parts, DAG files and pools were not looked at: {error.what}"
        yield about.warning("API", what, f"{error.remedy} KPC__AIRFLOW_URL, _USER and _PASSWORD name it.")


def _dag_files(api: AirflowApi, about: CheckSubject) -> SystemCheck:
    errors = api.import_errors()
    if not errors:
        return about.ok("DAG files", f"{len(api.dag_ids()):,} DAGs")
    names = ", ".join(error.partition(":")[0] for error in errors)
    return about.failed(
        "DAG files",
        f"Airflow cannot import {names}: its DAGs do not run, or run as they were before.",
        "`airflow dags list-import-errors` shows why; install the package of this version on the DAG processor.",
    )


def _pools(api: AirflowApi, wanted: Sequence[Pool]) -> Iterator[SystemCheck]:
    found = api.pools()
    for pool in wanted:
        about = CheckSubject("Airflow", pool.name)
        slots, includes_deferred = found.get(pool.name, (0, False))
        if not slots:
            yield about.failed("pool", f"The pool {pool.name} does not exist or has no slots.", how_to_make(pool))
        elif includes_deferred != pool.includes_deferred:
            does = "counts" if includes_deferred else "does not count"
            yield about.failed(
                "pool",
                f"The pool {pool.name} {does} deferred tasks: more or fewer of them run than its slots say.",
                how_to_make(pool),
            )
        elif slots != pool.slots:
            source = (
                "that KPC__SALESFORCE__JOBS_IN_FLIGHT allows" if pool.name == LOAD_POOL.name else "of a usual set-up"
            )
            what = f"The pool {pool.name} has {slots} slots, not the {pool.slots} {source}."
            yield about.warning("pool", what, how_to_make(pool))
        else:
            yield about.ok("pool", f"{slots} slots")
