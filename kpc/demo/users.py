"""The people who log in to the demo's Airflow: one per role, each with a password that is made anew each time."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from kpc.airflow_client.session import AirflowLogin
from kpc.errors import ConfigError

# Roles of Airflow's simple auth manager. An operator triggers runs and changes pools; a user triggers runs and answers
# requests for sign-off; a viewer reads.
ROLES = {"admin": "admin", "operator": "op", "signer": "user", "viewer": "viewer"}
OPERATOR = "operator"  # whom the demo and `kpc` in a second terminal log in as
SIGNER = "signer"  # whom the demo signs the migration off as
_FILE = "passwords.json"
_PASSWORD_BYTES = 8


@dataclass(frozen=True, slots=True)
class AirflowUsers:
    """User names with their passwords; `file` holds the same as JSON, readable by its owner only."""

    file: Path
    passwords: Mapping[str, SecretStr]

    def login(self, name: str) -> AirflowLogin:
        """Raises `ConfigError` for a user who does not exist."""
        if name not in self.passwords:
            raise ConfigError(
                f"The demo's Airflow has no user {name!r}.", f"Its users are {', '.join(self.passwords)}."
            )
        return AirflowLogin(name, self.passwords[name])

    def env(self) -> dict[str, str]:
        """Airflow's settings for them."""
        return {
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{ROLES[name]}" for name in self.passwords),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.file),
        }

    def __str__(self) -> str:
        """A line for the person at the terminal, who owns the file."""
        return ", ".join(f"{name} {password.get_secret_value()}" for name, password in self.passwords.items())


def new_users(home: Path) -> AirflowUsers:
    """Make a password for each user and write them to `home`, in the form that the simple auth manager reads."""
    passwords = {name: SecretStr(secrets.token_hex(_PASSWORD_BYTES)) for name in ROLES}
    home.mkdir(parents=True, exist_ok=True)
    file = home / _FILE
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        json.dump({name: password.get_secret_value() for name, password in passwords.items()}, opened)
    return AirflowUsers(file, passwords)
