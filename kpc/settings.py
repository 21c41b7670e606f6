"""Settings: addresses, credentials and limits of both systems. Read on request, never at import.

Precedence: explicit arguments, the environment (`KPC__ORACLE__DSN=...`), `kpc.toml` in the working directory (or the
file named by `KPC_CONFIG`), the defaults here. Secrets are `SecretStr`, so printing settings shows none.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from kpc.errors import ConfigError


class OracleSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    dsn: str = ""
    user: str = ""
    password: SecretStr = SecretStr("")
    owner: str = ""  # schema of the tables; the user's own if empty
    connect_timeout_s: float = Field(15.0, gt=0)
    call_timeout_s: float = Field(600.0, gt=0)
    sessions: int = Field(4, ge=1, le=10)  # parallel sessions inside one partition's task; a table may ask for fewer
    fetch_rows: int = Field(50_000, ge=1)  # rows per Arrow batch
    window: str = Field(
        "", pattern=r"^(|\d\d:\d\d-\d\d:\d\d)$"
    )  # local hours in which Oracle may be read, such as 22:00-06:00; empty: always
    reads: Literal["changed", "whole"] = "changed"  # what a repeated extract reads, if the table has an update column
    overlap_s: float = Field(3600.0, ge=0)  # reread before the watermark; must exceed the longest transaction
    ca_file: Path | None = None  # certificate authority of a tcps:// listener; the system's own if empty


class SalesforceSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    base_url: str = ""  # My Domain URL
    token_hosts: str = ""  # more hosts, separated by commas, that may get the access token if a log-in names them
    client_id: str = ""
    client_secret: SecretStr = SecretStr("")
    access_token: SecretStr = SecretStr("")  # instead of client id and secret; cannot be renewed
    refresh_token: SecretStr = SecretStr("")  # with client_id (and client_secret, if the app requires it)
    username: str = ""  # with private_key_file: JWT bearer
    private_key_file: Path | None = None
    audience: str = ""  # JWT `aud`; base_url when empty
    shared_user: bool = False  # other software creates jobs as this user: never adopt an Open job
    token_age_s: float = Field(3600.0, gt=0)  # renewed before it is older; an upload that meets a 401 was in vain
    ca_file: Path | None = None
    api_version: str = "62.0"
    upload_encoding: Literal["auto", "gzip", "identity"] = "auto"
    daily_rows: int = Field(150_000_000, ge=1)  # what the org allows in any 24 h, for all software together
    daily_batches: int = Field(15_000, ge=1)
    quota_share: float = Field(1.0, gt=0, le=1)  # of both quotas, for this migration; the rest is for other software
    retry_reserve: float = Field(0.05, ge=0, lt=1)  # of our share, kept for retries and rollback
    call_share: float = Field(0.9, gt=0, le=1)  # of the org's daily API calls, counting all software
    limits_every_s: float = Field(600.0, gt=0)  # how often to query the org for the usage of other software
    jobs_in_flight: int = Field(15, ge=1, le=100)
    collection_rows: int = Field(2_000, ge=0)  # retries up to this size use composite collections and no batch
    org_error_rows: int = Field(100, ge=0)  # stop above this many rows refused by triggers, permissions or storage
    connect_timeout_s: float = Field(10.0, gt=0)
    read_timeout_s: float = Field(120.0, gt=0)
    poll_first_s: float = Field(0.5, gt=0)
    poll_longest_s: float = Field(600.0, gt=0, le=800)  # a job that is not polled for 900 s counts as forgotten
    job_timeout_s: float = Field(6 * 3600.0, gt=0)


CleanupPolicy = Literal["keep", "archive", "delete"]


class StagingSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    root: Annotated[str, BeforeValidator(str)] = (
        ".kpc/staging"  # a directory, or an object store's URL: s3://bucket/kpc
    )
    scratch: Path = Path(".kpc/scratch")  # local; used when root is a URL
    after_reconciliation: CleanupPolicy = "keep"  # what to do with a partition's chunks once it is reconciled
    archive_root: Annotated[str, BeforeValidator(str)] = ".kpc/archive"  # a directory or a URL, for archived chunks
    chunk_rows: int = Field(500_000, ge=1)  # rows per chunk at most; a table may ask for fewer
    chunk_raw_bytes: int = Field(100_000_000, ge=1_000_000)  # Salesforce may refuse an upload over 100 MB raw
    batch_rows: int = Field(10_000, ge=1)  # a Salesforce batch; chunk sizes are multiples of it
    rejected_share: float = Field(0.01, ge=0, le=1)  # above it the partition stops for review
    free_bytes: int = Field(200_000_000, ge=0)  # to keep free on the staging disk
    gzip_level: int = Field(1, ge=0, le=3)
    memory_bytes: int = Field(64_000_000, ge=32_000_000)  # for the rows of a partition that are being staged


class LoadSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    # Whether to save records before a load changes them, so that `kpc rollback` can restore them.
    # auto: unless the object was empty when its first load was planned
    pre_image: Literal["auto", "on", "off"] = "auto"


class ReconcileSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    level3: Literal["auto", "sample", "full", "off"] = "auto"  # auto: every record up to full_rows, a sample above
    full_rows: int = Field(100_000, ge=0)
    sample_rows: int = Field(5_000, ge=1)
    docs_root: Path = Path(".kpc/data_docs")


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(env_prefix="KPC__", env_nested_delimiter="__", extra="forbid")

    oracle: OracleSettings = OracleSettings()
    salesforce: SalesforceSettings = SalesforceSettings()
    staging: StagingSettings = StagingSettings()
    load: LoadSettings = LoadSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    ledger_url: SecretStr = SecretStr("sqlite:///.kpc/ledger.db")
    lease_s: float = Field(120.0, gt=0)  # a lease not renewed for this long may be taken over
    lease_wait_s: float = Field(600.0, ge=0)
    hash_key: SecretStr = SecretStr("")  # key for hashing personal values; the same for the whole migration
    airflow_url: str = "http://127.0.0.1:8080"
    airflow_user: str = ""
    airflow_password: SecretStr = SecretStr("")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        file = Path(os.environ.get("KPC_CONFIG", "kpc.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)


def load_settings(**given: Any) -> Settings:
    """Load settings from the arguments, the environment and `kpc.toml`.

    Raises `ConfigError` naming each wrong entry.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        # Pydantic's message would print the invalid value, which may be a secret.
        wrong = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
        raise ConfigError(
            f"The settings are not valid: {wrong}.", "Correct the environment (KPC__...) or kpc.toml."
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"kpc.toml cannot be read: {error}.", "Correct the file, or name another with KPC_CONFIG."
        ) from None
