"""The environment in which `kpc` reaches the servers of a test."""

from __future__ import annotations

from oracle_source import OracleServer

from kpc.settings import SalesforceSettings


def environment_of(oracle: OracleServer, org: SalesforceSettings) -> dict[str, str]:
    return {
        "KPC__ORACLE__DSN": oracle.settings.dsn,
        "KPC__ORACLE__USER": oracle.settings.user,
        "KPC__ORACLE__PASSWORD": oracle.settings.password.get_secret_value(),
        "KPC__ORACLE__CONNECT_TIMEOUT_S": "3",
        "KPC__SALESFORCE__BASE_URL": org.base_url,
        "KPC__SALESFORCE__CLIENT_ID": org.client_id,
        "KPC__SALESFORCE__CLIENT_SECRET": org.client_secret.get_secret_value(),
        "KPC__HASH_KEY": "not-a-secret-only-a-test",
    }
