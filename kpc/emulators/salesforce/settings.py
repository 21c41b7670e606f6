"""How one emulator behaves: fixed at start, or switched while it runs (see admin.py)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, get_args, get_type_hints

from kpc.emulators.errors import OptionError


@dataclass(slots=True)
class Switches:
    """Behaviour that may change while the emulator runs. The defaults are what is most likely true of Salesforce."""

    gzip_upload: Literal["accept", "refuse", "misread"] = "accept"
    null_relationship: Literal["error", "null"] = "error"  # `#N/A` in a relationship column
    result_order: Literal["shuffled", "input"] = "shuffled"
    result_quotes: Literal["always", "necessary"] = "always"  # around the uploaded values in result files
    over_quota_rows: Literal["unprocessed", "unrecorded"] = "unprocessed"
    processing: Literal["run", "hold"] = "run"  # hold: closed jobs wait
    rows_per_s: float = 0.0  # pace of each job in org time; 0: as fast as it goes
    batch_timeouts: int = 0  # the next N batches time out; Salesforce tries a batch 20 times
    batch_attempts: int = 20
    lock_parents: bool = True  # rows fail when another job in progress writes children of the same, locked parent
    lock_rows_every: int = 0  # each N-th row fails once with UNABLE_TO_LOCK_ROW
    refuse_rows: Literal[
        "", "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "INSUFFICIENT_ACCESS_OR_READONLY", "STORAGE_LIMIT_EXCEEDED"
    ] = ""  # every row is refused with this code
    sink: bool = False  # parse and count rows, store nothing
    upload_limit_bytes: int = 150_000_000
    too_large_status: int = 413
    early_query_results_status: int = 412
    daily_batches: int = 15_000
    daily_records: int = 150_000_000
    daily_api_requests: int = 5_000_000
    daily_query_jobs: int = 10_000
    daily_query_result_mb: int = 976_562  # results of bulk queries: 1 TB
    token_lifetime_s: float = 7200.0
    jwt_audience: Literal["login", "production", "sandbox", "my_domain"] = "login"  # login: that of either kind of org
    oldest_api_version: int = 41  # older ones are retired
    moved_to: str = ""  # the org's new My Domain, to which every request is redirected
    open_job_hours: float = 24.0
    result_days: float = 7.0
    numbers: Literal["doubles", "exact"] = "doubles"  # in answers; stored values are rounded decimals
    multi_currency: bool = False  # every object has CurrencyIsoCode, and there is CurrencyType
    scale: int = 1  # records that each stored record stands for when a query is costed; 0: no query costs time
    query_timeout_s: float = 120.0  # seconds at the real size until a query must have its first record; 0: for ever
    count_records_per_s: float = 420_000.0  # speeds at the real size: COUNT() of a whole object
    aggregate_records_per_s: float = 250_000.0  # aggregates over a whole object
    scan_records_per_s: float = 100_000.0  # an object of which each record is looked at
    index_records_per_s: float = 20_000.0  # records found by an index
    index_statistics_age_s: float = 0.0  # the optimizer knows how large an object was so long ago
    bulk_chunk_records: int = 100_000  # a bulk query is split into pieces of so many ids
    key_index_records: int = 200_000  # the keys of larger objects are kept in memory, so that writing stays as fast
    query_page_rows: int = 250_000  # a bulk query page when the client names no maxRecords

    def change(self, changes: dict[str, object]) -> None:
        """Set some switches; none is set if one is wrong."""
        kinds = get_type_hints(Switches)
        checked = {name: _checked(name, value, kinds.get(name)) for name, value in changes.items()}
        for name, value in checked.items():
            setattr(self, name, value)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def _checked(name: str, value: object, kind: object) -> object:
    names = [each.name for each in fields(Switches)]
    if kind is None:
        raise OptionError(f"There is no switch {name!r}.", f"The switches are {', '.join(names)}.")
    if kind is bool and isinstance(value, bool):
        return value
    if kind in (int, float) and isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return value if kind is int else float(value)
    if kind is str and isinstance(value, str):
        return value
    if choices := get_args(kind):
        if value in choices:
            return value
        raise OptionError(f"Switch {name} cannot be {value!r}.", f"Choose one of {', '.join(choices)}.")
    raise OptionError(f"Switch {name} cannot be {value!r}.", f"It is of type {getattr(kind, '__name__', kind)}.")


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What is fixed for the life of one emulator process. Times in seconds; `port` 0 chooses a free one."""

    host: str = "127.0.0.1"
    port: int = 0
    ready_file: Path | None = None
    data_file: Path | None = None
    verbose: bool = False
    seed: int = 42
    workers: int = 4
    tls: bool = False
