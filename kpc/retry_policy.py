"""The one policy by which requests to a server are repeated: how often, for how long, and after which wait.

A wait doubles from `FIRST_WAIT_S` to `LONGEST_WAIT_S`, with a random part so that parallel workers do not return at the
same moment. A server's `Retry-After` (RFC 9110, section 10.2.3) is obeyed up to `LONGEST_ASKED_S`.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import stamina
from stamina.instrumentation import RetryDetails

from kpc.errors import (
    AirflowDown,
    AirflowNotReached,
    KpcError,
    NotReached,
    OracleDown,
    RateLimited,
    SalesforceDown,
    Transient,
    UnusableAnswer,
)

log = logging.getLogger(__name__)

TRIES = 8
FEW_TRIES = 4  # where another try seldom helps: an unusable answer, an address that was never reached
LONGEST_S = 300.0  # from the first failure to the start of the last try
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 10.0
LONGEST_ASKED_S = 300.0  # a longer Retry-After is left to the scheduler, or to the person who reads the message
TRANSIENT_STATUSES = frozenset((408, 425, 429, 500, 502, 503, 504))
_ON = (SalesforceDown, RateLimited, AirflowDown, UnusableAnswer)
_SECONDS = re.compile(r"[0-9]{1,15}", re.ASCII)

T = TypeVar("T")


def retried(act: Callable[[], T], *, also: tuple[type[KpcError], ...] = ()) -> T:
    """`act()`, repeated while it fails with a transient error of a server, or with one of `also`."""
    for attempt in stamina.retry_context(on=Patience((*_ON, *also)).wait_after, attempts=TRIES, timeout=None):
        with attempt:
            return act()
    raise AssertionError  # the context returns or raises


def retried_oracle(act: Callable[[], T], longest_s: float) -> T:
    """`act()`, repeated while Oracle is down, until `longest_s` after the first failure."""
    patience = Patience((OracleDown,), longest_s=longest_s, tries=None)
    for attempt in stamina.retry_context(on=patience.wait_after, attempts=None, timeout=None):
        with attempt:
            return act()
    raise AssertionError  # the context returns or raises


def tries_of(error: BaseException | None) -> int:
    """How often a request that fails with this error is made in all."""
    return FEW_TRIES if isinstance(error, UnusableAnswer | NotReached | AirflowNotReached) else TRIES


class Patience:
    """The waits of one request; `on` are the errors after which it is repeated.

    `tries` limits how often, besides the limit of the error; None: only `longest_s` does.
    """

    def __init__(
        self, on: tuple[type[KpcError], ...] = _ON, *, longest_s: float = LONGEST_S, tries: int | None = TRIES
    ) -> None:
        self._on = on
        self._longest_s = longest_s
        self._tries = tries
        self._failures = 0
        self._first_failure_s = 0.0

    def wait_after(self, error: Exception) -> float | bool:
        """Seconds to wait before the next try; False to give up."""
        wait_s: float
        now_s = time.monotonic()
        self._first_failure_s = self._first_failure_s or now_s
        self._failures += 1
        is_over = self._tries is not None and self._failures >= min(self._tries, tries_of(error))
        is_over = is_over or now_s - self._first_failure_s >= self._longest_s
        if not isinstance(error, self._on) or is_over:
            return False
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (self._failures - 1))
        asked_s = error.retry_after_s if isinstance(error, Transient) else None
        if asked_s is not None and asked_s <= LONGEST_ASKED_S:
            wait_s = max(wait_s, asked_s)
        return wait_s * random.uniform(1.0, 1.25)  # noqa: S311  no secret


def _log_retry(details: RetryDetails) -> None:
    error = details.caused_by
    why = error.what.rstrip(".") if isinstance(error, KpcError) else type(error).__name__
    number = details.retry_num + 1
    tries = f"{number}" if isinstance(error, OracleDown) else f"{number} of {tries_of(error)}"
    log.warning("%s; asking again in %.0f s (%s).", why, max(1.0, details.wait_for), tries)


stamina.instrumentation.set_on_retry_hooks([_log_retry])  # instead of the library's own log line


def retry_after_s(header: str | None, date: str | None = None) -> float | None:
    """The seconds that a `Retry-After` asks for, given as a number or as a date; None if it says nothing usable.

    `date` is the answer's `Date`, by which a date is counted, so that no clock need agree with the server's.
    """
    if header is None:
        return None
    text = header.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    until = _moment(text)
    if until is None:
        return None
    now = _moment(date or "") or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
