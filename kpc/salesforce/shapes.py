"""The answers that are expected of Salesforce; what does not fit is refused, and everything else in them is ignored."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from kpc.salesforce.constants import BulkJobState
from kpc.untrusted_text import shown

T = TypeVar("T")

_MOST_COUNT = 10**12  # records of an org, and more than any counter of its API
_ID = re.compile(r"[a-zA-Z0-9]{15}(?:[a-zA-Z0-9]{3})?", re.ASCII)
_API_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,254}", re.ASCII)


def _matching(pattern: re.Pattern[str], kind: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"is not {kind}")
        return text

    return AfterValidator(check)


def _as_moment(text: object) -> datetime:
    if not isinstance(text, str):
        raise ValueError("is not a time")  # noqa: TRY004  pydantic turns a ValueError into its own error
    return datetime.fromisoformat(text)


def _as_state(text: object) -> BulkJobState:
    try:
        return BulkJobState(str(text))
    except ValueError:
        raise ValueError("is not a state of a job") from None


RecordId = Annotated[str, _matching(_ID, "a Salesforce id")]
ApiName = Annotated[str, _matching(_API_NAME, "a name of the API")]
Count = Annotated[int, Field(ge=0, le=_MOST_COUNT)]
Message = Annotated[str, AfterValidator(shown)]  # text for people
Moment = Annotated[AwareDatetime, BeforeValidator(_as_moment)]
State = Annotated[BulkJobState, BeforeValidator(_as_state)]


class Shape(BaseModel):
    """The fields of an answer that are used, each of exactly its type."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


_MISFITS = {"missing": "is missing", "model_type": "should be an object", "dict_type": "should be an object"}
_ADAPTERS: dict[object, TypeAdapter[Any]] = {}


def _plain(message: str) -> str:
    """Pydantic's message as the end of a sentence that begins with the field."""
    return message.removeprefix("Value error, ").removeprefix("Input ")


def fitted(shape: type[T], value: object) -> T:
    """`value` as `shape`. Raises `ValueError` with the first misfit, without quoting the value."""
    adapter = _ADAPTERS.setdefault(shape, TypeAdapter(shape))
    try:
        fitting: T = adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"][:6]) or "it"
        raise ValueError(shown(f"{place} {_MISFITS.get(first['type']) or _plain(first['msg'])}")) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return fitting
