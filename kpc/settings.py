"""Settings: addresses, credentials and limits of both systems. Read on request, never at import.

Precedence: explicit arguments, the environment (`KPC__ORACLE__DSN=...`), `kpc.toml` in the working directory (or the
file named by `KPC_CONFIG`), the defaults here (`kpc/setting_sources.py` reads them). Secrets are `SecretStr`, so
printing settings shows none.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from kpc.errors import ConfigError
from kpc.setting_sources import (
    Sections,
    cleaned,
    env_name,
    environment_values,
    file_values,
    nearest_key,
    shown_name,
)
from kpc.setting_types import LocalPath, Place, Seconds, Secret, SecretAddress, SecretText, Text

_MODEL = ConfigDict(extra="forbid", allow_inf_nan=False)


class OracleSettings(BaseModel):
    model_config = _MODEL

    dsn: Text = ""
    user: Text = ""
    password: Secret = SecretStr("")
    owner: Text = ""  # schema of the tables; the user's own if empty
    connect_timeout_s: Seconds = Field(15.0, gt=0)  # for each address that the DSN leads to
    call_timeout_s: Seconds = Field(600.0, gt=0)  # of one fetch
    scan_timeout_s: Seconds = Field(14_400.0, gt=0)  # of a statement that must read a whole table before it answers
    retry_s: Seconds = Field(120.0, ge=0)  # how long what passes by itself is repeated before the stage fails
    expire_time_min: int = Field(2, ge=0, le=1440)  # probes of idle sessions, so that no firewall drops them; 0: none
    sessions: int = Field(4, ge=1, le=10)  # parallel sessions inside one partition's task; a table may ask for fewer
    fetch_rows: int = Field(50_000, ge=1)  # rows per Arrow batch
    window: Text = Field(
        "", pattern=r"^(|\d\d:\d\d-\d\d:\d\d)$"
    )  # local hours in which Oracle may be read, such as 22:00-06:00; empty: always
    reads: Literal["changed", "whole"] = "changed"  # what a repeated extract reads, if the table has an update column
    overlap_s: Seconds = Field(3600.0, ge=0)  # reread before the watermark; must exceed the longest transaction
    ca_file: LocalPath | None = None  # certificate authority of a tcps:// listener; the system's own if empty
    config_dir: LocalPath | None = None  # folder of tnsnames.ora, and in thick mode of sqlnet.ora
    wallet_location: LocalPath | None = None  # folder of ewallet.pem (thin mode) or cwallet.sso (thick mode), for tcps
    wallet_password: Secret = SecretStr("")
    ssl_server_dn_match: bool = True  # whether the name in a tcps listener's certificate must be that of its host
    ssl_server_cert_dn: Text = ""  # the distinguished name that it must have instead
    thick_mode: bool = False  # log in through Oracle's client libraries, which must be installed
    client_lib_dir: LocalPath | None = None  # their folder; the system's library search path if empty


class SalesforceSettings(BaseModel):
    model_config = _MODEL

    base_url: Text = ""  # My Domain URL
    token_hosts: Text = ""  # more hosts, separated by commas, that may get the access token if a log-in names them
    client_id: Text = ""
    client_secret: Secret = SecretStr("")
    access_token: Secret = SecretStr("")  # instead of client id and secret; cannot be renewed
    refresh_token: Secret = SecretStr("")  # with client_id (and client_secret, if the app requires it)
    username: Text = ""  # with a private key: JWT bearer; with a password: OAuth's password flow, or the SOAP login
    private_key: SecretText = SecretStr("")  # an RSA key in PEM form
    private_key_file: LocalPath | None = None  # or the file that holds it
    password: Secret = SecretStr("")  # of username; without client_id the SOAP login, which new orgs do not allow
    security_token: Secret = SecretStr("")  # sent behind the password, unless the org trusts this machine's address
    org_id: Text = ""  # the only org that may be logged in to, 15 or 18 characters; any if empty
    proxy: SecretAddress = SecretStr("")  # for this org; otherwise HTTPS_PROXY and NO_PROXY decide
    audience: Text = ""  # JWT `aud`; when empty the log-in host of base_url: login or, for a sandbox, test
    shared_user: bool = False  # other software creates jobs as this user: never adopt an Open job
    token_age_s: Seconds = Field(3600.0, gt=0)  # renewed before it is older; an upload that meets a 401 was in vain
    ca_file: LocalPath | None = None
    api_version: Text = Field("62.0", pattern=r"^\d{2,3}\.\d$")
    upload_encoding: Literal["auto", "gzip", "identity"] = "auto"
    daily_rows: int = Field(150_000_000, ge=1)  # what the org allows in any 24 h, for all software together
    daily_batches: int = Field(15_000, ge=1)
    quota_share: float = Field(1.0, gt=0, le=1)  # of both quotas, for this migration; the rest is for other software
    retry_reserve: float = Field(0.05, ge=0, lt=1)  # of our share, kept for retries and rollback
    call_share: float = Field(0.9, gt=0, le=1)  # of the org's daily API calls, counting all software
    limits_every_s: Seconds = Field(600.0, gt=0)  # how often to query the org for the usage of other software
    jobs_in_flight: int = Field(15, ge=1, le=100)
    collection_rows: int = Field(2_000, ge=0)  # retries up to this size use composite collections and no batch
    org_error_rows: int = Field(100, ge=0)  # stop above this many rows refused by triggers, permissions or storage
    connect_timeout_s: Seconds = Field(10.0, gt=0)
    read_timeout_s: Seconds = Field(150.0, gt=0)  # above the 120 s after which Salesforce ends a query
    indexed_rows: int = Field(333_333, ge=1)  # the most records that one filter on a custom index may match
    scanned_rows: int = Field(1_000_000, ge=0)  # an object of so few records is read as a whole in seconds
    daily_query_jobs: int = Field(10_000, ge=1)  # what the org allows in any 24 h
    daily_query_bytes: int = Field(1_000_000_000_000, ge=1)  # of results of query jobs in any 24 h
    query_jobs_at_once: int = Field(3, ge=1, le=100)  # of one reconciliation; as many aggregate queries beside them
    poll_first_s: Seconds = Field(0.5, gt=0)
    poll_longest_s: Seconds = Field(7200.0, gt=0)  # between two polls of a job of which there is no news
    job_timeout_s: Seconds = Field(6 * 3600.0, gt=0)


CleanupPolicy = Literal["keep", "archive", "delete"]


class StagingSettings(BaseModel):
    model_config = _MODEL

    root: Place = ".kpc/staging"  # a directory, or an object store's URL: s3://bucket/kpc
    scratch: LocalPath = Path(".kpc/scratch")  # local; used when root is a URL
    after_reconciliation: CleanupPolicy = "keep"  # what to do with a partition's chunks once it is reconciled
    archive_root: Place = ".kpc/archive"  # a directory or a URL, for archived chunks
    chunk_rows: int = Field(500_000, ge=1)  # rows per chunk at most; a table may ask for fewer
    chunk_raw_bytes: int = Field(100_000_000, ge=1_000_000)  # Salesforce may refuse an upload over 100 MB raw
    batch_rows: int = Field(10_000, ge=1)  # a Salesforce batch; chunk sizes are multiples of it
    rejected_share: float = Field(0.01, ge=0, le=1)  # above it the partition stops for review
    free_bytes: int = Field(200_000_000, ge=0)  # to keep free on the staging disk
    gzip_level: int = Field(1, ge=0, le=3)
    memory_bytes: int = Field(64_000_000, ge=32_000_000)  # for the rows of a partition that are being staged


class LoadSettings(BaseModel):
    model_config = _MODEL

    # Whether to save records before a load changes them, so that `kpc rollback` can restore them.
    # auto: unless the object was empty when its first load was planned
    pre_image: Literal["auto", "on", "off"] = "auto"
    pre_image_rows: int = Field(1_000_000, ge=0)  # the most records of others in one object whose pre-images are kept


Days = Annotated[int, Field(ge=0, le=36_500)]


class RetentionSettings(BaseModel):
    """How long `kpc purge` leaves files that hold rows, in days since their extract was sealed or given up."""

    model_config = _MODEL

    owner: Text = "data protection officer"  # of the personal data in these files, as the data map names it
    extract_days: Days = 90
    chunks_days: Days = 30
    rejects_days: Days = 180
    failed_rows_days: Days = 180
    pre_images_days: Days = 365
    rollback_days: Days = 365
    corrections_days: Days = 180
    comparisons_days: Days = 7  # what a comparison that was killed has left


class ReconcileSettings(BaseModel):
    model_config = _MODEL

    level3: Literal["full", "sample", "off"] = "full"  # every record, or a sample or none: a weaker state, `sampled`
    sample_rows: int = Field(5_000, ge=1)
    records_at_once: int = Field(250_000, ge=1)  # that one bulk query reads back, and that are compared in memory
    # Of which rows an extract asks Oracle what Salesforce must hold: of some buckets of a month, of all, or of none.
    second_opinion: Literal["some", "full", "off"] = "some"
    docs_root: LocalPath = Path(".kpc/data_docs")
    docs_url: Text = ""  # a web server that shows the Data Docs, for links; empty: Airflow's Migration page does


class SignOffSettings(BaseModel):
    """Who may sign a phase, or the migration, off. With either of these only users who logged in to Airflow can."""

    model_config = _MODEL

    four_eyes: bool = False  # two different people must accept the same certificates
    signers: Text = ""  # Airflow's ids of those who may, separated by commas; empty: whoever may answer a request

    @property
    def needs_log_in(self) -> bool:
        return self.four_eyes or bool(self.signer_ids)

    @property
    def signer_ids(self) -> tuple[str, ...]:
        return tuple(name for part in self.signers.split(",") if (name := part.strip()))


class AlertSettings(BaseModel):
    """Whom the DAG `alerts` tells, and when; a channel is used if its connection is named (docs/alerts.md)."""

    model_config = _MODEL

    smtp_conn_id: Text = ""  # ids of Airflow's connections
    smtp_to: Text = ""  # addresses, separated by commas
    smtp_from: Text = ""  # otherwise the connection's from_email
    slack_conn_id: Text = ""
    webhook_conn_id: Text = ""
    repeat_s: Seconds = Field(4 * 3600.0, ge=60)  # an alert that stays open is told again, with the present number
    stalled_s: Seconds = Field(3600.0, ge=60)  # without progress of a partition that should have some
    disk_free_bytes: int = Field(2_000_000_000, ge=0)  # below it on the staging disk; 0: never
    give_up_s: Seconds = Field(24 * 3600.0, ge=60)  # how long a message that cannot be delivered is tried again


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(extra="forbid", allow_inf_nan=False, case_sensitive=True)

    oracle: OracleSettings = OracleSettings()
    salesforce: SalesforceSettings = SalesforceSettings()
    staging: StagingSettings = StagingSettings()
    load: LoadSettings = LoadSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    retention: RetentionSettings = RetentionSettings()
    alerts: AlertSettings = AlertSettings()
    sign_off: SignOffSettings = SignOffSettings()
    ledger_url: SecretAddress = SecretStr("sqlite:///.kpc/ledger.db")
    lease_s: Seconds = Field(120.0, gt=0)  # a lease not renewed for this long may be taken over
    lease_wait_s: Seconds = Field(600.0, ge=0)
    certificate_key: Secret = SecretStr("")  # signs certificates: 64 hexadecimal digits, an Ed25519 private key
    hash_key: Secret = SecretStr("")  # key for hashing personal values; the same for the whole migration
    cut_over: datetime | None = None  # local time unless it names a zone; the daily campaign then ends with a check
    airflow_url: Text = "http://127.0.0.1:8080"
    airflow_user: Text = ""  # with a role that may trigger runs
    airflow_password: Secret = SecretStr("")
    airflow_token: Secret = SecretStr("")  # a ready-made token, where the auth manager takes no user name
    airflow_connections_required: bool = False  # a task whose connection does not exist fails

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del env_settings, dotenv_settings, file_secret_settings
        environment = InitSettingsSource(settings_cls, environment_values(_sections()))
        return init_settings, environment, InitSettingsSource(settings_cls, cleaned(file_values()))


def _sections() -> Sections:
    groups = {
        name: kind
        for name, field in Settings.model_fields.items()
        if isinstance(kind := field.annotation, type) and issubclass(kind, BaseModel)
    }
    inner = {name: frozenset(kind.model_fields) for name, kind in groups.items()}
    return {"": frozenset(Settings.model_fields) - groups.keys(), **inner}


def load_settings(**given: Any) -> Settings:
    """Load settings from the arguments, the environment and `kpc.toml`.

    Raises `ConfigError` naming each wrong entry.
    """
    try:
        return Settings(**cleaned(given))
    except ValidationError as error:
        # Pydantic's message would print the invalid value, which may be a secret.
        wrong = "; ".join(_explained(each["type"], each["msg"], *map(str, each["loc"])) for each in error.errors())
        raise ConfigError(
            f"The settings are not valid: {wrong}.", "Correct the environment (KPC__...) or kpc.toml."
        ) from None


def _explained(kind: str, message: str, *path: str) -> str:
    key = ".".join(path)
    if kind == "extra_forbidden":
        return f"{shown_name(key)} is no setting; the nearest is {nearest_key(key, _sections())}"
    return f"{key} ({env_name(*path[:2])}): {message.removeprefix('Value error, ')}"
