"""The rows of the views about the instance, its sessions and its users."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.dictionary.cells import Rows
from kpc.emulators.oracle.sql.functions import environment
from kpc.emulators.oracle.sql.instance import Instance

Maker = Callable[[Instance, Context], Rows]


def database_rows(instance: Instance, context: Context) -> Rows:
    started, container = instance.started_utc, instance.container
    return [
        {
            "DBID": container.dbid, "CON_DBID": instance.con_dbid, "CON_ID": 0, "NAME": container.name,
            "CREATED": started,
            "RESETLOGS_CHANGE#": container.resetlogs_scn, "RESETLOGS_TIME": container.resetlogs_utc,
            "LOG_MODE": "ARCHIVELOG", "CHECKPOINT_CHANGE#": context.scn, "CURRENT_SCN": context.scn,
            "OPEN_MODE": instance.store.facts.open_mode,
            "DATABASE_ROLE": instance.store.facts.database_role, "PLATFORM_NAME": "Emulator", "FLASHBACK_ON": "NO",
            "DB_UNIQUE_NAME": container.name,
            "SUPPLEMENTAL_LOG_DATA_MIN": "NO", "CDB": "YES",
        }
    ]  # fmt: skip


def version_rows(instance: Instance, context: Context) -> Rows:
    full = f"{environment.BANNER} (KPC emulator)\nVersion {environment.VERSION}"
    return [{"BANNER": environment.BANNER, "BANNER_FULL": full, "BANNER_LEGACY": environment.BANNER, "CON_ID": 0}]


def instance_rows(instance: Instance, context: Context) -> Rows:
    return [
        {
            "INSTANCE_NUMBER": 1, "INSTANCE_NAME": environment.INSTANCE, "HOST_NAME": environment.HOST,
            "VERSION": "19.0.0.0.0",
            "VERSION_FULL": environment.VERSION, "STARTUP_TIME": instance.started_utc, "STATUS": "OPEN",
            "PARALLEL": "NO", "THREAD#": 1,
            "ARCHIVER": "STARTED", "LOGINS": "ALLOWED", "SHUTDOWN_PENDING": "NO", "DATABASE_STATUS": "ACTIVE",
            "INSTANCE_ROLE": "PRIMARY_INSTANCE", "ACTIVE_STATE": "NORMAL",
        }
    ]  # fmt: skip


def session_rows(instance: Instance, context: Context) -> Rows:
    rows: Rows = []
    for s, logged_on_utc in instance.logins():
        attributes = s.attributes
        active = s.session_id == context.settings.session_id
        rows.append(
            {
                "SID": s.session_id, "SERIAL#": s.serial, "AUDSID": s.session_id, "USER#": 100, "USERNAME": s.user,
                "STATUS": "ACTIVE" if active else "INACTIVE", "SERVER": "DEDICATED", "SCHEMANAME": s.schema,
                "OSUSER": attributes.get("osuser"),
                "PROCESS": None, "MACHINE": s.machine or None, "TERMINAL": attributes.get("terminal"),
                "PROGRAM": s.program or None, "TYPE": "USER",
                "MODULE": attributes.get("module") or s.program or None, "ACTION": attributes.get("action"),
                "CLIENT_INFO": attributes.get("client_info"), "CLIENT_IDENTIFIER": attributes.get("client_identifier"),
                "LOGON_TIME": logged_on_utc, "SERVICE_NAME": s.service,
            }
        )  # fmt: skip
    return rows


_NLS = {
    "NLS_LANGUAGE": "AMERICAN", "NLS_TERRITORY": "AMERICA", "NLS_CURRENCY": "$", "NLS_ISO_CURRENCY": "AMERICA",
    "NLS_NUMERIC_CHARACTERS": ".,",
    "NLS_CALENDAR": "GREGORIAN", "NLS_DATE_FORMAT": "DD-MON-RR", "NLS_DATE_LANGUAGE": "AMERICAN",
    "NLS_SORT": "BINARY", "NLS_TIME_FORMAT": "HH.MI.SSXFF AM",
    "NLS_TIMESTAMP_FORMAT": "DD-MON-RR HH.MI.SSXFF AM", "NLS_TIME_TZ_FORMAT": "HH.MI.SSXFF AM TZR",
    "NLS_TIMESTAMP_TZ_FORMAT": "DD-MON-RR HH.MI.SSXFF AM TZR", "NLS_DUAL_CURRENCY": "$", "NLS_COMP": "BINARY",
    "NLS_LENGTH_SEMANTICS": "BYTE",
    "NLS_NCHAR_CONV_EXCP": "FALSE",
}  # fmt: skip


def _character_sets(instance: Instance) -> dict[str, str]:
    return {"NLS_CHARACTERSET": instance.store.character_set.name, "NLS_NCHAR_CHARACTERSET": "AL16UTF16"}


def nls_rows(instance: Instance, context: Context) -> Rows:
    values = {**_NLS, **_character_sets(instance), "NLS_RDBMS_VERSION": environment.VERSION}
    return [{"PARAMETER": name, "VALUE": value} for name, value in values.items()]


def session_nls_rows(instance: Instance, context: Context) -> Rows:
    s = context.settings
    own = {
        "NLS_DATE_FORMAT": s.date_format,
        "NLS_TIMESTAMP_FORMAT": s.timestamp_format,
        "NLS_TIMESTAMP_TZ_FORMAT": s.timestamp_tz_format,
    }
    return [{"PARAMETER": name, "VALUE": value} for name, value in {**_NLS, **own}.items()]


def session_and_character_set_rows(instance: Instance, context: Context) -> Rows:
    character_sets: Rows = [{"PARAMETER": k, "VALUE": v} for k, v in _character_sets(instance).items()]
    return session_nls_rows(instance, context) + character_sets


def privilege_rows(instance: Instance, context: Context) -> Rows:
    held = instance.store.grants.users.get(context.settings.user)
    return [{"PRIVILEGE": privilege} for privilege in sorted(held.privileges if held else ())]


def user_rows(instance: Instance, context: Context) -> Rows:
    expires = instance.store.facts.password_expires_days
    return [
        {
            "USERNAME": user,
            "USER_ID": 100 + i,
            "CREATED": instance.started_utc,
            "COMMON": "NO",
            "ACCOUNT_STATUS": "LOCKED" if instance.store.grants.users[user].is_locked else "OPEN",
            "DEFAULT_TABLESPACE": "USERS",
            "EXPIRY_DATE": None if expires is None else context.now + dt.timedelta(days=expires),
        }
        for i, user in enumerate(list(instance.store.grants.users))
        if user
    ]
