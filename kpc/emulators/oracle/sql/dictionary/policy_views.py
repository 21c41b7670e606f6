"""Views about limits and policies: profiles, parameters, undo, row-level security, redaction."""

from __future__ import annotations

import datetime as dt

from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.dictionary.cells import Rows
from kpc.emulators.oracle.sql.instance import Instance


def resource_limit_rows(instance: Instance, context: Context) -> Rows:
    """USER_RESOURCE_LIMITS."""
    return [{"RESOURCE_NAME": name, "LIMIT": limit} for name, limit in instance.store.facts.profile().items()]


def parameter_rows(instance: Instance, context: Context) -> Rows:
    """V$PARAMETER, of which clients need little."""
    parameters = {"undo_retention": str(instance.store.facts.undo_retention_s), "resource_limit": "TRUE"}
    return [{"NAME": name, "VALUE": value, "DISPLAY_VALUE": value} for name, value in parameters.items()]


def undo_rows(instance: Instance, context: Context) -> Rows:
    """V$UNDOSTAT: the last ten minutes. With a tablespace of a fixed size Oracle tunes the retention itself."""
    now = context.now
    return [
        {
            "BEGIN_TIME": now - dt.timedelta(minutes=10), "END_TIME": now, "MAXQUERYLEN": 0, "SSOLDERRCNT": 0,
            "TUNED_UNDORETENTION": instance.store.facts.undo_retention_s,
        }
    ]  # fmt: skip


def policy_rows(instance: Instance, context: Context) -> Rows:
    """ALL_POLICIES."""
    owners = {table.name: table.owner for table in instance.store.tables()}
    return [
        {
            "OBJECT_OWNER": owners[name], "OBJECT_NAME": name, "POLICY_GROUP": "SYS_DEFAULT",
            "POLICY_NAME": "SITE_ROWS", "PF_OWNER": "SEC", "FUNCTION": "SITE_ROWS", "SEL": "YES", "ENABLE": "YES",
        }
        for name in instance.store.facts.row_policies
        if name in owners
    ]  # fmt: skip


def redaction_policy_rows(instance: Instance, context: Context) -> Rows:
    """REDACTION_POLICIES."""
    owners = {table.name: table.owner for table in instance.store.tables()}
    tables = dict.fromkeys(each.partition(".")[0] for each in instance.store.facts.redactions)
    return [
        {"OBJECT_OWNER": owners[name], "OBJECT_NAME": name, "POLICY_NAME": "HIDE", "EXPRESSION": "1=1", "ENABLE": "YES"}
        for name in tables
        if name in owners
    ]


def redaction_column_rows(instance: Instance, context: Context) -> Rows:
    """REDACTION_COLUMNS."""
    owners = {table.name: table.owner for table in instance.store.tables()}
    pairs = [each.partition(".")[::2] for each in instance.store.facts.redactions]
    return [
        {"OBJECT_OWNER": owners[name], "OBJECT_NAME": name, "COLUMN_NAME": column, "FUNCTION_TYPE": "FULL REDACTION"}
        for name, column in pairs
        if name in owners
    ]
