"""The tasks of a sign-off DAG: one asks a person, one records the answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator, Param
from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput, TaskDeferred

from dags.connections import workspace_of
from dags.plugin import DOCS
from dags.sign_off_watch import RequestOutdated
from dags.triggers import ERROR, STILL
from kpc.errors import ConfigError, Transient
from kpc.retry_policy import retried
from kpc.stages.names import sign_off_run

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kpc.campaign.sign_off_answer import Answer, OpenRequest
    from kpc.campaign.sign_off_request import SignOffRequest
    from kpc.partition import Environment
    from kpc.stages.workspace import Workspace

NOTE = "note"  # the form's only field
_LONGEST_NOTE = 500
_POLL = timedelta(seconds=5)
_OUTAGE_WAIT = timedelta(seconds=30)
_LONGEST_WAIT = timedelta(days=7)  # then the trigger is created again


class AskForSignOff(ApprovalOperator):
    """Asks a person to sign off a phase, or `migration`, and records the response in the audit log.

    It waits deferred, without a worker or a slot, until somebody responds or the certificates change; then it closes
    the request and is skipped. Raises `ConfigError` if something is missing for a sign-off.
    """

    def __init__(self, *, signs: str, **kwargs: Any) -> None:
        note = Param(
            None,
            type=["null", "string"],
            maxLength=_LONGEST_NOTE,
            title="Note",
            description="Why, for the record. It is kept in the audit log: name no customer in it.",
        )
        super().__init__(subject=f"Sign off {signs}", body="", params={NOTE: note}, **kwargs)
        self.signs = signs

    def execute(self, context: Context) -> Any:
        from kpc.campaign.sign_off_request import sign_off_request  # noqa: PLC0415  slow to import

        with workspace_of(context) as workspace:
            if self._request(workspace, context).has_unused_answer():
                # On a busy machine, Airflow may repeat a task that was resumed within seconds, without the response.
                self.log.info("%s has already been answered.", self.signs)
                return None
            self._skip_if_needless(workspace, context)
            request = sign_off_request(self.signs, workspace)
            self.subject, self.body = f"Sign off {request.title}", self._body(request, workspace, context)
            self.assigned_users = [{"id": one, "name": one} for one in workspace.settings.sign_off.signer_ids] or None
        try:
            return super().execute(context)
        except TaskAwaitingInput:
            raise self._wait(context, request.environment, request.certificates_sha256, request.newest) from None

    def _skip_if_needless(self, workspace: Workspace, context: Context) -> None:
        from kpc.campaign.sign_off_evidence import certificates_digest, standing_certificates  # noqa: PLC0415
        from kpc.campaign.sign_off_list import signatures  # noqa: PLC0415

        ledger, environment = workspace.ledger, workspace.environment
        signed = signatures(self.signs, ledger, environment, workspace.settings.sign_off)
        if signed.is_complete:
            numbers = ", ".join(f"sign-off {one.id} by {one.actor}" for one in signed.made)
            raise AirflowSkipException(f"{self.signs} is already signed off, for these certificates: {numbers}.")
        sha256 = certificates_digest(standing_certificates(self.signs, ledger, environment))
        asked, _ = self._request(workspace, context).asked_for()
        if asked not in ("", sha256) or not is_run_of(workspace.run_id, sha256):
            raise AirflowSkipException(
                f"The certificates of {self.signs} have changed since this run began. Once the current ones are "
                "complete, the hub above them starts another run, which asks about those."
            )

    def _body(self, request: SignOffRequest, workspace: Workspace, context: Context) -> str:
        from expectations.sign_off_report import write_report  # noqa: PLC0415  slow to import
        from kpc.campaign.sign_off_evidence import phase_of  # noqa: PLC0415
        from kpc.campaign.sign_off_text import Evidence, request_text  # noqa: PLC0415

        settings = workspace.settings.reconcile
        report = write_report(settings.docs_root, workspace, phase_of(self.signs))
        self._request(workspace, context).note_request(request, report.sha256)
        site = settings.docs_url.rstrip("/") or f"{workspace.settings.airflow_url.rstrip('/')}{DOCS}"
        evidence = [
            Evidence("Sign-off report", f"{site}/reports/{report.file.name}", report.sha256),
            Evidence("Data Docs", f"{site}/{report.index.name}"),
        ]
        return request_text(request, evidence)

    def _wait(self, context: Context, environment: Environment, certificates_sha256: str, newest: int) -> TaskDeferred:
        trigger = RequestOutdated(
            task_instance=str(context["ti"].id),
            subject=self.signs,
            certificates_sha256=certificates_sha256,
            newest=newest,
            source_id=environment.source_id,
            target_id=environment.target_id,
            poll_s=_POLL.total_seconds(),
            deadline_utc=(datetime.now(UTC) + _LONGEST_WAIT).isoformat(),
        )
        return TaskDeferred(trigger=trigger, method_name="execute_complete")

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """`event` is a person's response, or that of the trigger."""
        if "chosen_options" not in event:
            return self._look_again(context, event)
        try:
            response = HITLOperator.execute_complete(self, context, event)  # the parent's skips what follows a refusal
        except ValueError as error:
            raise ConfigError(
                f"The response to the request to sign {self.signs} off cannot be used: {error}.",
                "Clear this task to ask again; choose Approve or Reject, and give no field other than the note.",
            ) from None
        answer = _answer(event)
        try:
            retried(lambda: self._enter(context, answer), also=(Transient,))
        except Transient as error:  # another try of this task would no longer have the response
            self.log.warning("%s", error)
            trigger = DateTimeTrigger(moment=datetime.now(UTC) + _OUTAGE_WAIT)
            raise TaskDeferred(
                trigger=trigger, method_name=self.enter_later.__name__, kwargs={"response": event}
            ) from None
        self.log.info("%s was answered by %s.", self.signs, answer.user_id or "nobody who was logged in")
        return response

    def enter_later(self, context: Context, event: datetime, response: dict[str, Any]) -> Any:
        """Enter a person's response that could not be entered before `event`."""
        del event
        return self.execute_complete(context, response)

    def _enter(self, context: Context, answer: Answer) -> None:
        with workspace_of(context) as workspace:
            self._request(workspace, context).note_answer(answer)

    def _look_again(self, context: Context, event: dict[str, Any]) -> Any:
        if error := event.get(ERROR):
            raise ConfigError(f"Nobody watches the request to sign {self.signs} off: {error}", "Clear this task.")
        with workspace_of(context) as workspace:
            asked = self._request(workspace, context)
            reason = asked.outdated()
            if not reason and event.get(STILL):  # the longest wait is over
                raise self._wait(context, workspace.environment, *asked.asked_for())
            reason = reason or "It is outdated."
            asked.note_closed(reason)
        raise AirflowSkipException(f"The request was closed. {reason}")

    def _request(self, workspace: Workspace, context: Context) -> OpenRequest:
        return open_request(self.signs, workspace, context["ti"].task_id)


class RecordSignOff(BaseOperator, SkipMixin):
    """Records the previous task's response as a decision, or fails with the reason why it cannot count.

    It skips the request for a second signature if none is needed any more.
    """

    inherits_from_skipmixin = True

    def __init__(self, *, signs: str, answers: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.signs = signs
        self.answers = answers

    def execute(self, context: Context) -> int:
        from kpc.campaign.sign_off_list import list_sign_offs, signatures  # noqa: PLC0415  slow to import
        from kpc.ledger.states import SignOffDecision  # noqa: PLC0415

        with workspace_of(context) as workspace:
            number = open_request(self.signs, workspace, self.answers).record()
            settings = workspace.settings.sign_off
            signed = signatures(self.signs, workspace.ledger, workspace.environment, settings)
            made = next(one.sign_off for one in list_sign_offs(workspace) if one.sign_off.id == number)
        self.log.info("Sign-off %s: %s %s by %s, %s.", number, self.signs, made.decision, made.actor, made.identified)
        if signed.is_complete or made.decision is not SignOffDecision.ACCEPTED:
            self.skip(ti=context["ti"], tasks=context["task"].get_direct_relatives(upstream=False))
        return number


def open_request(signs: str, workspace: Workspace, step: str) -> OpenRequest:
    from kpc.campaign.sign_off_answer import OpenRequest  # noqa: PLC0415  slow to import

    return OpenRequest(signs, step, workspace)


def is_run_of(run_id: str, sha256: str) -> bool:
    """Whether a run may ask about these certificates: it was started for them, or by a person for the current ones."""
    return run_id == sign_off_run(sha256) or not run_id.startswith(sign_off_run(""))


def _answer(event: dict[str, Any]) -> Answer:
    from kpc.campaign.sign_off_answer import Answer  # noqa: PLC0415  slow to import

    user = event.get("responded_by_user") or {}
    return Answer(
        accepts=event["chosen_options"] == [ApprovalOperator.APPROVE],
        user_id=str(user.get("id") or ""),
        user_name=str(user.get("name") or user.get("id") or ""),
        note=str((event.get("params_input") or {}).get(NOTE) or ""),
    )
