"""An Airflow connection as it was written: its fields and its extra, from whichever secrets backend has it."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException, AirflowRuntimeError
from airflow.sdk.log import mask_secret

from dags.connections.secrets_backends import is_in_a_backend
from kpc.errors import ConfigError
from kpc.untrusted_text import shown

ORACLE = "kpc_oracle"
SALESFORCE = "kpc_salesforce"

# Extras whose values Airflow does not mask by their name.
_SECRETS = ("consumer_secret", "client_secret", "session_id", "security_token", "wallet_password", "refresh_token")


@dataclass(frozen=True, slots=True)
class ConnectionFields:
    """The fields of a connection, each without blanks around it and None if it is empty.

    `extra` has no empty values, and no names with the prefix (`extra__salesforce__domain`) that older forms wrote.
    """

    name: str
    host: str | None
    port: int | None
    schema: str | None
    login: str | None
    password: str | None = field(repr=False)
    extra: Mapping[str, Any] = field(repr=False)

    def refused(self, what: str, remedy: str) -> ConfigError:
        """The error for fields that cannot be used; `what` completes a sentence that begins with the connection."""
        return ConfigError(f"Airflow's connection {self.name} {what}.", remedy)

    def text(self, name: str) -> str | None:
        """An extra that is a text or a number. Raises `ConfigError` for a list or an object."""
        value = self.extra.get(name)
        if isinstance(value, dict | list):
            raise self.refused(f"has an extra {name} that is no text", "Write it as one text in quotation marks.")
        return None if value is None else str(value).strip()

    def given(self, names: Iterable[str]) -> list[str]:
        """Which of these extras it has."""
        return [name for name in names if name in self.extra]

    def own(self, settings: Iterable[str], understood: Iterable[str]) -> dict[str, Any]:
        """The extras that are fields of our settings. Raises `ConfigError` for one that is nothing at all."""
        known = set(settings)
        for name in self.extra.keys() - known - set(understood):
            near = difflib.get_close_matches(name, {*known, *understood}, n=1, cutoff=0.0)[0]
            raise self.refused(
                f"has an extra {shown(name, 80)}, which is no field of it; the nearest is {near}",
                "Correct or remove it; docs/airflow-connections.md lists all fields.",
            )
        return {name: value for name, value in self.extra.items() if name in known}

    def merged(self, official: Mapping[str, tuple[str, Any]], own: Mapping[str, Any]) -> dict[str, Any]:
        """Settings from official fields (setting: its field and value) and from our own names for them.

        Raises `ConfigError` for a setting that both give, differently.
        """
        for setting, (name, value) in official.items():
            if value is not None and setting in own and str(own[setting]) != str(value):
                raise self.refused(f"has both {name} and {setting}, which mean the same", "Remove one of them.")
        named = {setting: value for setting, (_, value) in official.items() if value is not None}
        return named | dict(own)


def has_connection(name: str) -> bool:
    """Whether Airflow has a connection of this name. Raises as `read_fields`."""
    return _find(name) is not None


def read_fields(name: str) -> ConnectionFields | None:
    """The connection of this name; None if Airflow has none.

    Raises `ConfigError` for one that cannot be read, and `AirflowDown` where a place of connections did not answer.
    From here on Airflow masks its secrets in every log.
    """
    connection = _find(name)
    if connection is None:
        return None
    extra = _extra(connection)
    for secret in _SECRETS:
        if extra.get(secret):
            mask_secret(extra[secret])
    return ConnectionFields(
        name,
        _stripped(connection.host),
        connection.port,
        _stripped(connection.schema),
        _stripped(connection.login),
        connection.password or None,
        extra,
    )


def _stripped(value: str | None) -> str | None:
    return (value or "").strip() or None


def _find(name: str) -> Connection | None:
    variable = f"AIRFLOW_CONN_{name.upper()}"
    try:
        found: Connection = Connection.get(name)
    except AirflowNotFoundException as error:
        if not os.environ.get(variable, "").strip():
            return _find(name) if is_in_a_backend(name) else None
        reason: Exception = error  # Airflow takes a variable that it cannot parse for none
    except (ValueError, TypeError, AirflowException, AirflowRuntimeError) as error:
        reason = error
    else:
        return found
    raise ConfigError(
        f"Airflow's connection {name} cannot be read ({type(reason).__name__}).",
        f"Correct it under Admin, Connections, in the secrets backend, or in the variable {variable}.",
    )


def _extra(connection: Connection) -> dict[str, Any]:
    """The extra fields. Airflow itself takes an extra that is no JSON for an empty one."""
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise ConfigError(
            f"The extra of Airflow's connection {connection.conn_id} is no JSON object.",
            "Correct it under Admin, Connections; docs/airflow-connections.md lists its keys.",
        )
    whole = extra | connection.extra_dejson  # Airflow masks its secrets in logs when it decodes them
    plain = {_without_prefix(name): value for name, value in whole.items() if _is_prefixed(name)}
    plain |= {name: value for name, value in whole.items() if not _is_prefixed(name)}
    return {name: value for name, value in plain.items() if not _is_empty(value)}


def _is_empty(value: object) -> bool:
    """Forms write an empty text for what was left out. False and 0 are values."""
    return value is None or (isinstance(value, str) and not value.strip()) or value in ({}, [])


def _is_prefixed(name: str) -> bool:
    return name.startswith(("extra__oracle__", "extra__salesforce__"))


def _without_prefix(name: str) -> str:
    return name.split("__", 2)[2]
