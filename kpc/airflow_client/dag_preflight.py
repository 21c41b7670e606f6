"""Preflight as Airflow's workers see it: the DAG `preflight` is run, and its findings are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kpc.airflow_client.api import AirflowApi
from kpc.airflow_client.one_task import answer_of, run_task
from kpc.answer_shapes import Shape
from kpc.campaign.system_check import CheckState, SystemCheck
from kpc.settings import Settings
from kpc.stages.names import PREFLIGHT

CHECK_TASK = "check"
FINDINGS = "findings"  # XCom key: the checks that found something, without values of rows


class _Finding(Shape):
    system: str
    subject: str
    name: str
    state: str
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class WorkerPreflight:
    """How many checks came to each state, those that failed or warn, and the page of the run."""

    counts: dict[str, int]
    findings: tuple[SystemCheck, ...]
    page: str


def run_preflight(
    settings: Settings, *, dry_run: bool = False, say: Callable[[str], None] = lambda _text: None
) -> WorkerPreflight:
    """Run the DAG and wait for its checks. Raises `ConfigError` if Airflow refuses, `Terminal` if they cannot be made.

    The worker reads its connections itself; nothing of this process's settings but Airflow's address is used.
    """
    with AirflowApi.of(settings) as api:
        run = run_task(api, PREFLIGHT, CHECK_TASK, {"dry_run": dry_run}, say)
        counts: dict[str, int] = answer_of(api, run, CHECK_TASK, dict[str, int])
        found: list[_Finding] = answer_of(api, run, CHECK_TASK, list[_Finding], FINDINGS)
        checks = (
            SystemCheck(one.system, one.subject, one.name, CheckState(one.state), one.message, one.remedy)
            for one in found
        )
        return WorkerPreflight(counts, tuple(checks), api.run_page(run))
