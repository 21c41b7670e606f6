"""One check of preflight: what was looked at, what was found, what it means and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from kpc.errors import KpcError


class CheckState(StrEnum):
    OK = "ok"
    WARNING = "warning"  # the campaign can run; somebody should know
    FAILED = "failed"  # it would stop, or its data would differ from the source


@dataclass(frozen=True, slots=True)
class SystemCheck:
    """`name` says what was checked (`flashback`), `subject` on which table, setting or address.

    `message` is what was found and what it means, `remedy` what to do about it.
    """

    system: str
    subject: str
    name: str
    state: CheckState
    message: str
    remedy: str = ""

    @property
    def is_ok(self) -> bool:
        return self.state is not CheckState.FAILED


@dataclass(frozen=True, slots=True)
class CheckSubject:
    """Makes the checks of one subject."""

    system: str
    subject: str

    def ok(self, name: str, message: str) -> SystemCheck:
        return SystemCheck(self.system, self.subject, name, CheckState.OK, message)

    def warning(self, name: str, message: str, remedy: str) -> SystemCheck:
        return SystemCheck(self.system, self.subject, name, CheckState.WARNING, message, remedy)

    def failed(self, name: str, message: str, remedy: str) -> SystemCheck:
        return SystemCheck(self.system, self.subject, name, CheckState.FAILED, message, remedy)

    def run(self, name: str, check: Callable[[], str | None]) -> SystemCheck:
        """Ok with the message that `check` returns; failed with the error that it raises."""
        try:
            return self.ok(name, check() or "as declared")
        except KpcError as error:
            return self.failed(name, error.what, error.remedy)
