"""Answers of servers as typed objects: what does not fit is refused, and everything else in them is ignored."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from kpc.untrusted_text import shown

T = TypeVar("T")

_MISFITS = {"missing": "is missing", "model_type": "should be an object", "dict_type": "should be an object"}
_ADAPTERS: dict[object, TypeAdapter[Any]] = {}


def _as_moment(text: object) -> datetime:
    if not isinstance(text, str):
        raise ValueError("is not a time")  # noqa: TRY004  pydantic turns a ValueError into its own error
    return datetime.fromisoformat(text)


Message = Annotated[str, AfterValidator(shown)]  # text for people
Moment = Annotated[AwareDatetime, BeforeValidator(_as_moment)]


class Shape(BaseModel):
    """The fields of an answer that are used, each of exactly its type."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


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


def _plain(message: str) -> str:
    """Pydantic's message as the end of a sentence that begins with the field."""
    return message.removeprefix("Value error, ").removeprefix("Input ")
