"""The load tasks, which wait without holding a worker: the load plan, behind the parents' loads, and one ingest job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import process_time
from typing import TYPE_CHECKING, Any, Self

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferred

from dags.connections import actor_of, partition_context_of, partition_of, workspace_of
from dags.events import CPU_S
from dags.triggers import ERROR, STILL, JobEnded, ParentsLoaded, Resumed
from kpc.errors import ConfigError, NotYet, Paused, QuotaExhausted, Terminal

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kpc.load.chunk_load import ChunkSpec
    from kpc.partition import Partition
    from kpc.stages.context import PartitionContext
    from kpc.stages.workspace import Workspace

WAITS_UNTIL = "waits_until"  # XCom key: until when, or for what, a task waits
CHUNK = "{{ chunk_name }}"  # map_index_template; the task fails unless the context has the name before it ends


@dataclass(frozen=True, slots=True)
class LoadedChunk:
    """What a chunk's task returns to the publishing task: the chunk's result as JSON, and its CPU seconds."""

    result: dict[str, Any]
    cpu_s: float

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Self:
        return cls(answer["result"], float(answer[CPU_S]))

    def as_json(self) -> dict[str, Any]:
        return {"result": self.result, CPU_S: self.cpu_s}


class PlanLoad(BaseOperator):
    """Returns the chunks that are still to be loaded, once the first of them may start.

    It waits for what stands in the way: the parents' loads, free quota (until the exact time), the end of a pause,
    another table's load that locks the same parents. It holds no worker while it waits and is in no pool, so a load
    that cannot start takes no slot. Raises `Terminal` when it has waited `longest_wait` for parents or a pause.
    """

    def __init__(
        self, *, table: str, parent_poll: timedelta, pause_poll: timedelta, longest_wait: timedelta, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.table = table
        self.parent_poll = parent_poll
        self.pause_poll = pause_poll
        self.longest_wait = longest_wait

    def execute(self, context: Context) -> list[dict[str, Any]]:
        from kpc.load.plan import missing_parents  # noqa: PLC0415  slow to import; a DAG file must parse quickly

        with partition_context_of(self.table, context) as partition:
            if missing := missing_parents(partition):
                raise self._until_loaded(partition, missing, context)
            return self._planned(partition, context)

    def _planned(self, partition: PartitionContext, context: Context) -> list[dict[str, Any]]:
        from kpc.load.mapped_chunks import check_room, plan_load  # noqa: PLC0415  slow to import

        chunks = plan_load(partition)
        try:
            check_room(partition, chunks)
        except QuotaExhausted as full:
            self.log.info("%s waits for quota until %s. %s", partition, full.next_free_utc.isoformat(), full.what)
            _show(context, f"quota, until {full.next_free_utc.isoformat(timespec='seconds')}")
            raise self._until(full.next_free_utc) from None
        except Paused as paused:
            raise self._until_resumed(partition, paused, context) from None
        except NotYet as wait:
            self.log.info("%s", wait)
            _show(context, wait.what)
            raise self._until(wait.again_utc) from None
        return [chunk.as_json() for chunk in chunks]

    def plan_again(self, context: Context, event: datetime) -> list[dict[str, Any]]:
        self.log.info("The wait ended at %s.", event)
        return self.execute(context)

    def plan_after_parents(self, context: Context, event: dict[str, Any]) -> list[dict[str, Any]]:
        _refuse_broken(event)
        if missing := event[STILL]:
            partition = partition_of(self.table, context)
            raise Terminal(
                f"{partition} waited {self.longest_wait} for its parents; not loaded yet: {', '.join(missing)}.",
                "Load them first (`kpc status` shows why they are not), then "
                f"`kpc rerun {partition.table.name} {partition.key} --stage sf_loaded`.",
            )
        return self.execute(context)

    def plan_resumed(self, context: Context, event: dict[str, Any]) -> list[dict[str, Any]]:
        _refuse_broken(event)
        if still := event[STILL]:
            raise Terminal(
                f"{partition_of(self.table, context)} was paused for {self.longest_wait}: {'; '.join(still)}.",
                "Run `kpc resume`, then clear this task.",
            )
        return self.execute(context)

    def _until(self, moment: datetime) -> TaskDeferred:
        return TaskDeferred(trigger=DateTimeTrigger(moment=moment), method_name=self.plan_again.__name__)

    def _until_loaded(
        self, partition: PartitionContext, missing: Sequence[Partition], context: Context
    ) -> TaskDeferred:
        names = ", ".join(map(str, missing))
        self.log.info("%s waits for %s.", partition, names)
        _show(context, f"the load of {names}")
        trigger = ParentsLoaded(
            parents=[[parent.table.name, parent.key] for parent in missing], **self._polled(partition, self.parent_poll)
        )
        return TaskDeferred(trigger=trigger, method_name=self.plan_after_parents.__name__)

    def _until_resumed(self, partition: PartitionContext, paused: Paused, context: Context) -> TaskDeferred:
        self.log.info("%s waits. %s", partition, paused)
        _show(context, paused.what)
        trigger = Resumed(table=self.table, **self._polled(partition, self.pause_poll))
        return TaskDeferred(trigger=trigger, method_name=self.plan_resumed.__name__)

    def _polled(self, partition: PartitionContext, poll: timedelta) -> dict[str, Any]:
        """The arguments of a trigger that asks the ledger every `poll`, for `longest_wait` at most."""
        return {
            "source_id": partition.environment.source_id,
            "target_id": partition.environment.target_id,
            "poll_s": poll.total_seconds(),
            "deadline_utc": (datetime.now(UTC) + self.longest_wait).isoformat(),
        }


def _show(context: Context, why: str) -> None:
    context["ti"].xcom_push(key=WAITS_UNTIL, value=why)


def _refuse_broken(event: dict[str, Any]) -> None:
    """Raises `ConfigError` with what the trigger could not do, for example read the ledger."""
    if reason := event.get(ERROR):
        raise ConfigError(reason, "Then clear this task.")


def _reschedule(at_utc: datetime) -> AirflowRescheduleException:
    return AirflowRescheduleException(at_utc)  # type: ignore[no-untyped-call]  # Airflow's own


class IngestChunk(BaseOperator):
    """Loads one chunk as one ingest job.

    A job that ends within `patience` is finished in this process, which avoids a second task start. A longer job, or
    one that will be longer at the pace of the latest one, is handed to the triggerer; the task keeps its pool slot. A
    retry finds the job it started in the ledger. A chunk that may not start yet releases its slot and is rescheduled to
    the exact time when quota is free or, while the load is paused, after `pause_look`.
    """

    pause_look = timedelta(seconds=15)

    template_fields: Sequence[str] = ("spec",)

    def __init__(self, *, spec: dict[str, Any], patience: timedelta, longest_wait: timedelta, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.patience = patience
        self.longest_wait = longest_wait

    def execute(self, context: Context) -> dict[str, Any]:
        from kpc.load.mapped_chunks import begin_chunk, ends_within  # noqa: PLC0415  slow to import

        began_s = process_time()
        self._name(context)
        with self._releasing_slot(context), workspace_of(context) as workspace:
            job_id = begin_chunk(workspace, self._chunk)
            if ends_within(workspace, self._chunk, job_id, self.patience.total_seconds()):
                return self._finish(job_id, workspace, began_s)
        self.log.info("Ingest job %s is still running; the triggerer polls it.", job_id)
        trigger = JobEnded(
            spec=self.spec,
            job_id=job_id,
            run_id=context["dag_run"].run_id,
            actor=actor_of(context),
            deadline_utc=(datetime.now(UTC) + self.longest_wait).isoformat(),
        )
        raise TaskDeferred(trigger=trigger, method_name=self.resume.__name__, kwargs={"job_id": job_id})

    def resume(self, context: Context, event: dict[str, str], job_id: str) -> dict[str, Any]:
        self._name(context)
        if reason := event[ERROR]:
            raise Terminal(reason, "The job may still finish; run this task again, which first checks the job's state.")
        began_s = process_time()
        with self._releasing_slot(context), workspace_of(context) as workspace:
            return self._finish(job_id, workspace, began_s)

    @property
    def _chunk(self) -> ChunkSpec:
        from kpc.load.chunk_load import ChunkSpec  # noqa: PLC0415  slow to import

        return ChunkSpec.model_validate(self.spec)

    def _finish(self, job_id: str, workspace: Workspace, began_s: float) -> dict[str, Any]:
        from kpc.load.mapped_chunks import finish_chunk  # noqa: PLC0415  slow to import

        result = finish_chunk(workspace, self._chunk, job_id).model_dump(mode="json")
        return LoadedChunk(result, round(process_time() - began_s, 2)).as_json()

    @contextmanager
    def _releasing_slot(self, context: Context) -> Iterator[None]:
        """Reschedule the task while it must wait: unlike a deferred task, it releases its pool slot."""
        try:
            yield
        except QuotaExhausted as full:
            self.log.info("Waits for quota until %s. %s", full.next_free_utc.isoformat(), full.what)
            _show(context, f"quota, until {full.next_free_utc.isoformat(timespec='seconds')}")
            raise _reschedule(full.next_free_utc) from None
        except Paused as paused:
            self.log.info("%s", paused)
            _show(context, paused.what)
            raise _reschedule(datetime.now(UTC) + self.pause_look) from None
        except NotYet as wait:
            self.log.info("%s", wait)
            _show(context, wait.what)
            raise _reschedule(wait.again_utc) from None

    def _name(self, context: Context) -> None:
        # Airflow renders the template from this same context object.
        context["chunk_name"] = f"{self.spec['table']} {self.spec['key']} {self.spec['chunk']}"  # type: ignore[typeddict-unknown-key]
