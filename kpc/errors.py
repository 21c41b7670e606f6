"""The errors of the migration. The class decides what happens next; the message says what to do.

    KpcError
      ConfigError                     stop; nothing was sent
        CatalogError                  a declaration in kpc/catalog is wrong
        MissingExtra                  a package that only this command needs is not installed
        SchemaDrift                   the live system differs from the catalog
      Transient                       repeat the same step
        OracleDown                    the database did not answer, or the session was lost
        SalesforceDown                the org did not answer
          NotReached                  no connection was made since this process began
        RateLimited                   the org asks to wait
        AirflowDown                   Airflow did not answer
        UnusableAnswer                a server's answer is not of the expected form
        LeaseLost                     another run works on the same partition and stage
        OutsideWindow, PassRunning, SiblingLoading    not yet: again at `again_utc`
      SnapshotLost                    the SCN can no longer be read: new generation
      OutcomeUnknown                  a request's effect is unknown: ask the server, then decide
      Terminal                        stop this partition
        DataUnreadable                the data at this SCN cannot be read: new generation
        JobFailed                     Salesforce failed the ingest job
        QuotaExhausted                the quota is used up until `next_free_utc`
        Paused                        a person stopped new jobs with `kpc pause`
        Superseded                    a newer load of this partition has started
        DamagedFile                   a file differs from its manifest
        OutOfSpace                    the staging disk is full
      RowsRejected                    finished, but rejected rows need review
      Mismatch                        finished, but source and target differ

A message has one sentence on what happened and one on what to do, with the command to run. Facts that a program needs
are attributes, so that no caller has to parse a message.
"""

from __future__ import annotations

import errno
import re
from datetime import datetime
from pathlib import Path


class KpcError(Exception):
    """Base class of the errors this project raises.

    `what` says what happened, `remedy` what to do; `str()` gives both.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what} {remedy}".strip())

    def add_remedy(self, remedy: str) -> None:
        """Add a sentence on what to do, by a caller that knows more about the command."""
        self.remedy = f"{self.remedy} {remedy}".strip()
        self.args = (f"{self.what} {self.remedy}",)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword attributes must survive pickling from a worker to the process that reports the failure.
        return (_rebuild, (type(self), self.__dict__.copy(), self.args))


def _rebuild(cls: type[KpcError], facts: dict[str, object], args: tuple[object, ...]) -> KpcError:
    error = cls.__new__(cls)
    error.__dict__.update(facts)
    error.args = args
    return error


class ConfigError(KpcError):
    """A setting, a command or a credential is wrong. Nothing was sent; repeating does not help."""


class MissingExtra(ConfigError):
    """The command needs packages of an optional extra that is not installed."""


class CatalogError(ConfigError):
    """A declaration in `kpc/catalog` contradicts itself or another one."""


class SchemaDrift(ConfigError):
    """The live Oracle or Salesforce schema differs from the catalog. `differences` has one line per difference."""

    def __init__(self, what: str, remedy: str = "", *, differences: tuple[str, ...] = ()) -> None:
        super().__init__("\n  ".join([what, *differences]), remedy)
        self.differences = differences


class UnknownDag(ConfigError):
    """Airflow does not know a DAG, or has read its file with errors."""


class Transient(KpcError):
    """A temporary failure: repeat the same step. `retry_after_s`: how long the server asked to wait, if it did."""

    def __init__(self, what: str, remedy: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(what, remedy)
        self.retry_after_s = retry_after_s


class OracleDown(Transient):
    """Oracle did not answer in time, refused the connection temporarily, or dropped the session."""


class SalesforceDown(Transient):
    """Salesforce did not answer in time, or answered with a server error."""


class NotReached(SalesforceDown):
    """No connection to the org was made since this process began; the address may be wrong."""


class RateLimited(Transient):
    """A server has received too many requests and asks to wait."""


class AirflowDown(Transient):
    """Airflow did not answer in time, or answered with a server error."""


class AirflowNotReached(AirflowDown):
    """No connection to Airflow was made since this process began; it may not run, or the address may be wrong."""


class UnusableAnswer(Transient):
    """A server's answer is not of the form that was expected, such as a proxy's page: nothing in it is used."""


class LeaseLost(Transient):
    """Another run took over this partition and stage; this run must stop writing."""


class LeaseTaken(Transient):
    """Another run works on this partition and stage."""


class NotYet(Transient):
    """Nothing failed: the step can be done at `again_utc`, and Airflow waits until then without holding a slot."""

    def __init__(self, what: str, remedy: str = "", *, again_utc: datetime) -> None:
        super().__init__(what, remedy)
        self.again_utc = again_utc


class OutsideWindow(NotYet):
    """Oracle may be read only during configured hours; the next window opens at `again_utc`."""


class PassRunning(NotYet):
    """Another run is reading the whole table, this partition included."""


class SiblingLoading(NotYet):
    """Another table's load locks the same parent records; this one may begin when no job of it is running."""


class NoFreeSlot(NotYet):
    """As many ingest jobs are in flight as may be."""


class SnapshotLost(KpcError):
    """Oracle can no longer read at this generation's SCN (ORA-01555 and related errors): start a new generation."""


class OutcomeUnknown(KpcError):
    """A request was sent but its reply was lost. Query `job_id` on the server before repeating anything."""

    def __init__(self, what: str, remedy: str = "", *, job_id: str | None = None) -> None:
        super().__init__(what, remedy)
        self.job_id = job_id


class Terminal(KpcError):
    """Stop this partition; repeating would fail the same way."""


class CallTimedOut(Terminal):
    """Oracle needed longer for one call than a setting allows; the same limit again would end the same way."""


class DataUnreadable(Terminal):
    """The data at this SCN cannot be read as it is: this generation is given up, and the next run takes a new SCN."""


class JobFailed(Terminal):
    """Salesforce ended ingest job `job_id` as Failed or Aborted."""

    def __init__(self, what: str, remedy: str = "", *, job_id: str | None = None) -> None:
        super().__init__(what, remedy)
        self.job_id = job_id


class QuotaExhausted(Terminal):
    """The org's rolling 24 h quota is used up until `next_free_utc`."""

    def __init__(self, what: str, remedy: str = "", *, next_free_utc: datetime) -> None:
        super().__init__(what, remedy)
        self.next_free_utc = next_free_utc


class Paused(Terminal):
    """A person paused new ingest jobs of this partition; running jobs are polled until they finish."""


class Superseded(Terminal):
    """A load of a newer generation of this partition has started; an older one must not overwrite it."""


class DamagedFile(Terminal):
    """The file at `path` is missing, truncated or differs from its manifest."""

    def __init__(self, what: str, remedy: str = "", *, path: Path | str = "") -> None:
        super().__init__(what, remedy)
        self.path = str(path)


_RUST_FORM = re.compile(r"\(os error (\d+)\)")


def errno_of(error: OSError) -> int | None:
    """The number of the error; polars has it in the text only."""
    found = _RUST_FORM.search(str(error))
    return error.errno if error.errno is not None or found is None else int(found[1])


class OutOfSpace(Terminal):
    """The staging disk has no room for the next file."""

    @staticmethod
    def is_meant_by(error: OSError) -> bool:
        """True for a full disk, an exhausted disk quota, and a file above the process's size limit."""
        return errno_of(error) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class RowsRejected(KpcError):
    """Finished, but `rows` rows were rejected; they are listed in `path`."""

    def __init__(self, what: str, remedy: str = "", *, rows: int, path: Path | str = "") -> None:
        super().__init__(what, remedy)
        self.rows = rows
        self.path = str(path)


class Mismatch(KpcError):
    """Finished, and source and target differ in `measures`."""

    def __init__(self, what: str, remedy: str = "", *, measures: tuple[str, ...] = ()) -> None:
        super().__init__(what, remedy)
        self.measures = measures
