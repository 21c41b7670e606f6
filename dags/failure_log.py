"""A task's log ends with one sentence on what happened and one on what to do, not with a traceback.

Airflow logs every exception that a task raises with all frames, most of them its own, and shows them expanded.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from dags.outages import outage_of
from kpc.errors import KpcError

Event = MutableMapping[str, Any]


def log_sentences(context: Mapping[str, Any]) -> None:
    """For `pre_execute` of every task: from now on this process logs only the message of the project's errors.

    Existing loggers hold a reference to the list of processors, so it is extended in place.
    """
    del context
    processors = structlog.get_config()["processors"]
    if sentence_for_known_error not in processors:
        processors.insert(0, sentence_for_known_error)


def sentence_for_known_error(logger: object, method: str, event: Event) -> Event:
    """A processor of structlog: the error's message in place of "Task failed with exception" and the traceback.

    Any other exception is a defect, whose traceback is needed.
    """
    del logger, method
    error = _error_of(event.get("exc_info"))
    error = outage_of(error) or error
    if isinstance(error, KpcError):
        del event["exc_info"]
        event["event"] = str(error)
    return event


def _error_of(exc_info: object) -> object:
    if exc_info is True:
        return sys.exception()
    return exc_info[1] if isinstance(exc_info, tuple) else exc_info
