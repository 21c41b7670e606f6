"""What a statement can ask about its session and the time: SYSDATE, USER, SYS_CONTEXT and similar."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.types import datatypes, values
from kpc.emulators.oracle.sql.types.values import Expr

VERSION = "19.3.0.0.0"
BANNER = "Oracle Database 19c Enterprise Edition Release 19.0.0.0.0 - Production"
HOST = "kpc-emulator"
INSTANCE = "kpcdb"

_TZ = replace(datatypes.TIMESTAMP, ora=OraType.TIMESTAMP_TZ)


def _text(value: str | None, size: int = 256) -> Expr:
    if not value:
        return Expr("NULL::VARCHAR", datatypes.varchar2(size))
    return Expr(f"{values.quote(value)}::VARCHAR", datatypes.varchar2(max(size, len(value))), value, nullable=False)


def _local(context: Context) -> dt.datetime:
    return context.settings.zone.local(context.now)


def _server_time(context: Context) -> dt.datetime:
    return context.settings.facts.server_time(context.now)


# The database time zone is UTC, whatever the zone of the server's clock.
PSEUDO_COLUMNS: dict[str, Callable[[Context], Expr]] = {
    "SYSDATE": lambda c: values.moment(_server_time(c).replace(tzinfo=None), datatypes.DATE),
    "SYSTIMESTAMP": lambda c: values.moment(_server_time(c), _TZ),
    "CURRENT_DATE": lambda c: values.moment(_local(c), datatypes.DATE),
    "LOCALTIMESTAMP": lambda c: values.moment(_local(c), datatypes.TIMESTAMP),
    "CURRENT_TIMESTAMP": lambda c: replace(values.moment(c.now, _TZ), zone=c.settings.zone),
    "SESSIONTIMEZONE": lambda c: _text(c.settings.zone.name, 75),
    "DBTIMEZONE": lambda c: _text("+00:00", 6),
    "USER": lambda c: _text(c.settings.user, 128),
    "UID": lambda c: values.number(100),
}


def _sys_context(args: list[Expr], context: Context) -> Expr:
    space, key = (arg.constant for arg in args[:2])
    if not isinstance(space, str) or not isinstance(key, str):
        raise unsupported("SYS_CONTEXT with arguments that are not constants")
    if space.upper() != "USERENV":
        return _text(None)
    answers = user_environment(context)
    if key.upper() not in answers:
        raise ora(2003)
    return _text(answers[key.upper()])


def user_environment(context: Context) -> dict[str, str | None]:
    """The USERENV namespace."""
    s = context.settings
    return {
        "SESSION_USER": s.user,
        "CURRENT_USER": s.user,
        "CURRENT_SCHEMA": s.schema,
        "AUTHENTICATED_IDENTITY": s.user,
        "AUTHENTICATION_METHOD": "PASSWORD",
        "SID": str(s.session_id),
        "SESSIONID": str(s.session_id),
        "DB_NAME": s.database,
        "DB_UNIQUE_NAME": s.container or s.database,
        "DB_DOMAIN": None,
        "CON_NAME": s.database,
        "CON_ID": "3",
        "CDB_NAME": s.container or None,
        "INSTANCE": "1",
        "INSTANCE_NAME": INSTANCE,
        "SERVICE_NAME": s.service,
        "SERVER_HOST": HOST,
        "HOST": s.machine or HOST,
        "TERMINAL": s.attributes.get("terminal"),
        "OS_USER": s.attributes.get("osuser"),
        "IP_ADDRESS": "127.0.0.1",
        "MODULE": s.attributes.get("module"),
        "ACTION": s.attributes.get("action"),
        "CLIENT_INFO": s.attributes.get("client_info"),
        "CLIENT_IDENTIFIER": s.attributes.get("client_identifier"),
        "CLIENT_PROGRAM_NAME": s.program or None,
        "LANGUAGE": f"AMERICAN_AMERICA.{s.character_set}",
        "LANG": "US",
        "NLS_CALENDAR": "GREGORIAN",
        "NLS_DATE_FORMAT": s.date_format,
        "NLS_DATE_LANGUAGE": "AMERICAN",
        "NLS_SORT": "BINARY",
        "NLS_TERRITORY": "AMERICA",
        "ISDBA": "FALSE",
        "DATABASE_ROLE": s.facts.database_role,
        "CLOUD_SERVICE": None,
        "CURRENT_EDITION_NAME": "ORA$BASE",
        "SESSION_EDITION_NAME": "ORA$BASE",
        "NETWORK_PROTOCOL": "tcp",
        "PROXY_USER": None,
    }


FUNCTIONS: dict[str, tuple[int, int, Callable[[list[Expr], Context], Expr]]] = {
    "SYS_CONTEXT": (2, 3, _sys_context),
}
