"""The DAGs that ask people to sign off a phase or the migration: one each, with one open request at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, BaseOperator, chain

from assets.graph import HubSpec
from dags.retrying import RetryWhatMayPass
from dags.signatures import AskForSignOff, RecordSignOff
from kpc.stages.names import DOCS_POOL, MIGRATION, sign_off_dag

FIRST_DAY = datetime(2016, 1, 1, tzinfo=UTC)
_TASK_DEFAULTS = {
    "owner": "kpc",
    "retries": 40,  # ten minutes: nobody else asks for these certificates
    "retry_policy": RetryWhatMayPass(),
    "retry_delay": timedelta(seconds=15),  # somebody is waiting for the answer
    "weight_rule": "absolute",
}


def subject_of(spec: HubSpec) -> str:
    """What is signed off above a hub."""
    return spec.phase.value if spec.phase else MIGRATION


def sign_off_dag_of(spec: HubSpec) -> DAG:
    """Started by the hub, once for each set of certificates: the run's id contains their hash.

    With four eyes a second person is asked after the first; otherwise these two tasks are skipped.
    """
    subject = subject_of(spec)
    with DAG(
        sign_off_dag(subject),
        schedule=None,
        start_date=FIRST_DAY,
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=1,
        tags=["sign-off", *([spec.phase.value] if spec.phase else [])],
        description=f"Asks people to sign {'phase ' if spec.phase else 'the '}{subject} off.",
        doc_md=_instructions(subject),
        default_args=_TASK_DEFAULTS,
    ) as dag:
        tasks: list[BaseOperator] = []
        for ask, record in (("request", "record"), ("second_request", "second_record")):
            # It builds the Data Docs, which only one task at a time may do; while it waits it is in no pool.
            tasks.append(AskForSignOff(task_id=ask, signs=subject, pool=DOCS_POOL.name))
            tasks.append(RecordSignOff(task_id=record, signs=subject, answers=ask))
        chain(*tasks)
    return dag


def _instructions(subject: str) -> str:
    return f"""\
**Asks for the sign-off of {subject}, shows what is signed for, and records who answered.**

Started by the hub when everything in scope is reconciled, once per set of certificates. Answer under *Required
Actions*, logged in under your own name. The request closes by itself when a certificate changes.

To be asked again, for instance after a refusal, trigger this DAG. `kpc sign-off list` shows what was decided and what
is still valid; `kpc sign-off revoke NUMBER --note REASON` takes a decision back.
"""
