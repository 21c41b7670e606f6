"""A request for sign-off and its answer, as entries of the audit log, and the decision that follows from them.

Airflow's own records can be changed by its users; these entries are written only by tasks, and only appended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kpc.campaign.sign_off import sign_off
from kpc.campaign.sign_off_list import signatures
from kpc.campaign.sign_off_request import SignOffRequest, outdated
from kpc.errors import ConfigError
from kpc.ledger import AuditEntry, Signer
from kpc.ledger.vouching import VOUCHED
from kpc.settings import SignOffSettings
from kpc.stages.names import sign_off_dag
from kpc.stages.workspace import Workspace

REQUESTED = "sign-off requested"
ANSWERED = "sign-off answered"
CLOSED = "sign-off request closed"
NOT_RECORDED = "sign-off not recorded"
_DECIDED = ("sign-off accepted", "sign-off refused")
_NOBODY = "anonymous"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response to a request. `user_id` and `user_name` name the person who was logged in; empty if nobody was."""

    accepts: bool
    user_id: str
    user_name: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """One request of a run; `step` distinguishes the first signature's request from the second's."""

    subject: str
    step: str
    workspace: Workspace

    def asked_for(self) -> tuple[str, int]:
        """The certificates that this run last asked about, and the newest decision then; empty if it has not asked."""
        asked = self._newest(REQUESTED)
        return (str(asked.detail["certificates_sha256"]), int(asked.detail["newest"])) if asked else ("", 0)

    def note_request(self, request: SignOffRequest, report_sha256: str) -> None:
        self._append(
            REQUESTED,
            certificates=request.certificates,
            certificates_sha256=request.certificates_sha256,
            newest=request.newest,
            report_sha256=report_sha256,
        )

    def note_answer(self, answer: Answer) -> None:
        self._append(
            ANSWERED,
            accepts=answer.accepts,
            user_id=answer.user_id,
            user_name=answer.user_name,
            note=answer.note,
        )

    def note_closed(self, reason: str) -> None:
        self._append(CLOSED, reason=reason)

    def has_unused_answer(self) -> bool:
        """Whether the newest request has a response that was not recorded as a decision: a retry must not ask again."""
        asked, answered = self._newest(REQUESTED), self._newest(ANSWERED)
        if asked is None or answered is None or answered.seq < asked.seq:
            return False
        later = [*self._of(NOT_RECORDED), *(entry for action in _DECIDED for entry in self._of(action))]
        return all(entry.seq < answered.seq for entry in later) and not self.outdated()

    def outdated(self) -> str:
        """Why the request is outdated; empty while it is current."""
        sha256, newest = self.asked_for()
        if not sha256:
            return ""
        return outdated(self.subject, sha256, newest, self.workspace.ledger, self.workspace.environment)

    def record(self) -> int:
        """Record the newest answer as a decision, and return its number; repeating it records nothing new.

        Raises `ConfigError` if there is no answer, or none that counts, and records that in the audit log.
        """
        asked, answered = self._newest(REQUESTED), self._newest(ANSWERED)
        if asked is None or answered is None or answered.seq < asked.seq:
            raise self._refused(
                "has no response: its task was marked as successful or skipped by hand, which signs nothing",
                None,
            )
        if number := self._recorded_since(answered.seq):
            return number
        detail = answered.detail
        answer = Answer(detail["accepts"], detail["user_id"], detail["user_name"], detail["note"])
        self._check(answer)
        if reason := self.outdated():
            raise self._refused(f"came too late: {reason}", answer)
        made = sign_off(
            self.subject,
            None,
            self.workspace,
            accepts=answer.accepts,
            note=answer.note,
            signer=_signer(answer),
            certificates_sha256=str(asked.detail["certificates_sha256"]),
        )
        return made.number

    def _check(self, answer: Answer) -> None:
        settings: SignOffSettings = self.workspace.settings.sign_off
        if not answer.user_id or _NOBODY in (answer.user_id.casefold(), answer.user_name.casefold()):
            who = "Anonymous, whom Airflow asks for no password" if answer.user_id else "nobody who was logged in"
            raise self._refused(f"came from {who}: log in under your own name", answer)
        if settings.signer_ids and answer.user_id not in settings.signer_ids:
            raise self._refused(f"came from {answer.user_id}, who is not named in KPC__SIGN_OFF__SIGNERS", answer)
        if not (answer.accepts and settings.four_eyes):
            return
        workspace = self.workspace
        made = signatures(self.subject, workspace.ledger, workspace.environment, settings)
        if _signer(answer).identified in made.people:
            raise self._refused(
                f"came from {answer.user_id}, who has signed these certificates already: with four eyes another person "
                "must",
                answer,
            )

    def _refused(self, why: str, answer: Answer | None) -> ConfigError:
        text = f"The response to the request to sign {self.subject} off {why}." if answer else ""
        text = text or f"The request to sign {self.subject} off {why}."
        self._append(NOT_RECORDED, reason=text, user_id=answer.user_id if answer else "")
        return ConfigError(text, f"To ask again, trigger the DAG {sign_off_dag(self.subject)}.")

    def _recorded_since(self, seq: int) -> int:
        for action in _DECIDED:
            for entry in self._of(action):
                if entry.seq > seq:
                    return int(next(iter(entry.detail[VOUCHED]["rows"]["sign_off"])))
        return 0

    def _newest(self, action: str) -> AuditEntry | None:
        found = [entry for entry in self._of(action) if entry.detail.get("step") == self.step]
        return found[-1] if found else None

    def _of(self, action: str) -> list[AuditEntry]:
        entries = self.workspace.ledger.audit.of_action(action, self.workspace.environment)
        mine = (self.workspace.run_id, self.subject)
        return [entry for entry in entries if (entry.run_id, entry.detail.get("subject")) == mine]

    def _append(self, action: str, **detail: Any) -> None:
        workspace = self.workspace
        workspace.ledger.audit.append(
            action,
            actor=detail.get("user_id") or workspace.actor,
            run_id=workspace.run_id,
            environment=workspace.environment,
            detail={"subject": self.subject, "step": self.step, **detail},
        )


def _signer(answer: Answer) -> Signer:
    return Signer(answer.user_name, f"logged in to Airflow as {answer.user_id}", is_authenticated=True)
