"""The emulator's error responses, in Salesforce's form and never a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class ApiError(Exception):
    """A refused request: HTTP status and Salesforce's `errorCode` and `message`."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        fields: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields
        self.headers = dict(headers or {})

    @property
    def body(self) -> list[dict[str, object]]:
        error: dict[str, object] = {"message": self.message, "errorCode": self.code}
        if self.fields:
            error["fields"] = list(self.fields)
        return [error]


class DataError(Exception):
    """Uploaded content that fails its whole job; `str()` is the job's errorMessage."""


@dataclass(frozen=True, slots=True)
class RowRefusal:
    """Why one row was refused."""

    code: str
    message: str
    fields: tuple[str, ...] = ()

    @property
    def csv_text(self) -> str:
        """The `sf__Error` cell: `CODE:message:fields --`."""
        return f"{self.code}:{self.message}:{' '.join(self.fields) + ' ' if self.fields else ''}--"

    @property
    def json(self) -> dict[str, object]:
        """The entry of a collection result."""
        return {"statusCode": self.code, "message": self.message, "fields": list(self.fields)}


def not_found(what: str = "The requested resource does not exist") -> ApiError:
    return ApiError(404, "NOT_FOUND", what)


def bad_json(why: str) -> ApiError:
    return ApiError(400, "JSON_PARSER_ERROR", why)
