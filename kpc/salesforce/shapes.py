"""Ids, names, counts and states as Salesforce answers them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from kpc.answer_shapes import Message, Moment, Shape, fitted
from kpc.salesforce.constants import BulkJobState

__all__ = ["ApiName", "Count", "Message", "Moment", "RecordId", "Shape", "State", "fitted"]

_MOST_COUNT = 10**12  # records of an org, and more than any counter of its API
_ID = re.compile(r"[a-zA-Z0-9]{15}(?:[a-zA-Z0-9]{3})?", re.ASCII)
_API_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,254}", re.ASCII)


def _matching(pattern: re.Pattern[str], kind: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"is not {kind}")
        return text

    return AfterValidator(check)


def _as_state(text: object) -> BulkJobState:
    try:
        return BulkJobState(str(text))
    except ValueError:
        raise ValueError("is not a state of a job") from None


RecordId = Annotated[str, _matching(_ID, "a Salesforce id")]
ApiName = Annotated[str, _matching(_API_NAME, "a name of the API")]
Count = Annotated[int, Field(ge=0, le=_MOST_COUNT)]
State = Annotated[BulkJobState, BeforeValidator(_as_state)]
