"""Named exceptions, and which handler catches an error."""

from __future__ import annotations

from typing import NoReturn

from kpc.emulators.oracle.interface import BindValue, OraError
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.plsql.tree import ExceptionHandler

# The exceptions that have a name, and their ORA- codes.
EXCEPTIONS = {
    "NO_DATA_FOUND": 1403,
    "TOO_MANY_ROWS": 1422,
    "DUP_VAL_ON_INDEX": 1,
    "ZERO_DIVIDE": 1476,
    "VALUE_ERROR": 6502,
    "INVALID_NUMBER": 1722,
    "LOGIN_DENIED": 1017,
    "TIMEOUT_ON_RESOURCE": 51,
}


_NEVER_CAUGHT = (1013, 3001)


def find_handler(handlers: list[ExceptionHandler], error: OraError) -> ExceptionHandler | None:
    """The handler that catches the error, if any."""
    if error.code in _NEVER_CAUGHT:
        return None
    for handler in handlers:
        for name in handler.names:
            if name not in EXCEPTIONS and name != "OTHERS":
                raise unsupported(f"PL/SQL exception {name}")
            if name == "OTHERS" or EXCEPTIONS[name] == error.code:
                return handler
    return None


def raise_application_error(arguments: list[BindValue]) -> NoReturn:
    """RAISE_APPLICATION_ERROR(number, text)."""
    code = -int(str(arguments[0])) if arguments else 0
    if not 20_000 <= code <= 20_999:
        raise ora(21000, arguments[0] if arguments else "")
    raise OraError(code, str(arguments[1] if len(arguments) > 1 else ""))
