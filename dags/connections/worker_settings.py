"""The settings of a worker: its environment and `kpc.toml`, overruled by Airflow's connections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from airflow.sdk.log import mask_secret
from pydantic import BaseModel, SecretStr

from dags.connections.fields import ORACLE, SALESFORCE, ConnectionFields, read_fields
from dags.connections.oracle import oracle_settings
from dags.connections.salesforce import LOG_IN_HOST, is_official_form, salesforce_settings
from kpc.errors import AirflowDown
from kpc.settings import Settings, load_settings

_SHORTEST_MASKED = 5  # Airflow ignores shorter ones, which would blacken ordinary words
_masked: set[str] = set()  # by this process already


def settings_of_connections() -> Settings:
    """The settings of this worker.

    Raises `ConfigError` naming each wrong entry, and `AirflowDown` for a connection that must exist and was not found.
    """
    oracle, salesforce = read_fields(ORACLE), read_fields(SALESFORCE)
    given = {
        "oracle": oracle_settings(oracle) if oracle else {},
        "salesforce": salesforce_settings(salesforce) if salesforce else {},
    }
    settings = load_settings(**{name: values for name, values in given.items() if values})
    if settings.airflow_connections_required:
        _refuse_absent({ORACLE: oracle, SALESFORCE: salesforce})
    if salesforce and is_official_form(salesforce) and not settings.salesforce.base_url:
        settings = load_settings(**{**given, "salesforce": {**given["salesforce"], "base_url": LOG_IN_HOST}})
    for secret in set(_secrets(settings)) - _masked:
        mask_secret(secret)
        _masked.add(secret)
    return settings


def _refuse_absent(connections: Mapping[str, ConnectionFields | None]) -> None:
    if missing := [name for name, found in connections.items() if found is None]:
        raise AirflowDown(
            f"Airflow has no connection {' or '.join(missing)}, or could not look it up, and "
            "KPC__AIRFLOW_CONNECTIONS_REQUIRED is on.",
            "Make it under Admin, Connections, or see that the secrets backend answers; then clear this task.",
        )


def _secrets(settings: BaseModel) -> Iterator[str]:
    """What no log may show, wherever it comes from."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from _secrets(value)
        elif isinstance(value, SecretStr) and len(value.get_secret_value()) >= _SHORTEST_MASKED:
            yield value.get_secret_value()
