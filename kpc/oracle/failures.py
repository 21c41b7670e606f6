"""What a driver error means for the migration: repeat, take a new SCN, or stop. Only this module decides that.

Codes are Oracle's error numbers (Database Error Messages) and python-oracledb's DPY numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import oracledb

from kpc.errors import (
    CallTimedOut,
    ConfigError,
    DataUnreadable,
    KpcError,
    OracleDown,
    SchemaDrift,
    SnapshotLost,
    Terminal,
)
from kpc.untrusted_text import shown

_NUMBER = re.compile(r"\b(ORA|DPY)-(\d{4,5})")
_SIMILAR = re.compile(r"[Ss]imilar to ORA-(\d{5})")
_QUOTED = re.compile(r'"([^"]+)"')
_MOST_CHARACTERS = 600  # of a driver's message; it may quote the server's
_CHECK = "Check it with `kpc preflight`."


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """How long one call may take, and the setting below KPC__ORACLE__ that says so."""

    setting: str
    seconds: float


@dataclass(frozen=True, slots=True)
class OperationContext:
    """The operation that failed, for the error message: `table` is OWNER.TABLE, or empty while connecting."""

    dsn: str
    user: str
    table: str = ""
    limit: TimeLimit | None = None


def _service(dsn: str) -> str:
    return dsn.rsplit("/", 1)[-1]


def _down(operation: OperationContext, text: str) -> KpcError:
    where = f" while {operation.table} was read" if operation.table else ""
    return OracleDown(
        f"Oracle at {operation.dsn} did not answer or dropped the session{where}: {text}.",
        f"The step may be repeated as it is; finished chunks are kept. {_CHECK}",
    )


def _timed_out(operation: OperationContext, text: str) -> KpcError:
    if operation.limit is None:
        return _down(operation, text)
    where = f" for a statement on {operation.table}" if operation.table else ""
    return CallTimedOut(
        f"Oracle at {operation.dsn} needed longer than {operation.limit.seconds:g} s{where}.",
        f"Raise KPC__ORACLE__{operation.limit.setting}, or ask the DBA what the session waits for (V$SESSION, module "
        "kpc-migration). Finished chunks are kept; run the same command again.",
    )


def _lost(operation: OperationContext, text: str) -> KpcError:
    return SnapshotLost(
        f"Oracle can no longer read {operation.table} as of the SCN of this generation: {text}.",
        "A new generation starts by itself; if it recurs, ask the DBA for a longer UNDO_RETENTION.",
    )


def _login(operation: OperationContext, text: str) -> KpcError:
    return ConfigError(
        f"Oracle at {operation.dsn} refused user {operation.user}: {text}.",
        f"Correct KPC__ORACLE__USER and KPC__ORACLE__PASSWORD (in Airflow: connection kpc_oracle). {_CHECK}",
    )


def _account(operation: OperationContext, text: str) -> KpcError:
    return ConfigError(
        f"Oracle at {operation.dsn} does not let user {operation.user} in: {text}.",
        f"Ask the DBA to unlock the account or renew its password. {_CHECK}",
    )


def _unknown_service(operation: OperationContext, text: str) -> KpcError:
    return ConfigError(
        f"The listener at {operation.dsn} knows no service {_service(operation.dsn)}: {text}.",
        f"Correct the service name in KPC__ORACLE__DSN (host:port/service). {_CHECK}",
    )


def _bad_dsn(operation: OperationContext, text: str) -> KpcError:
    return ConfigError(
        f"{operation.dsn!r} is not an address of an Oracle service: {text}.",
        "Give KPC__ORACLE__DSN as host:port/service.",
    )


def _untrusted(operation: OperationContext, text: str) -> KpcError:
    return ConfigError(
        f"The certificate of the listener at {operation.dsn} is not trusted: {text}.",
        f"Set KPC__ORACLE__CA_FILE to the PEM file of the authority that signed it. {_CHECK}",
    )


def _no_table(operation: OperationContext, text: str) -> KpcError:
    if operation.table.startswith("V$"):
        return _privilege(operation, text)
    return SchemaDrift(
        f"Oracle has no table {operation.table}, or user {operation.user} may not read it: {text}.",
        f"Ask the DBA: GRANT SELECT, FLASHBACK ON {operation.table} TO {operation.user}; "
        "or correct KPC__ORACLE__OWNER.",
    )


def _no_column(operation: OperationContext, text: str) -> KpcError:
    named = _QUOTED.search(text)
    column = named.group(1) if named else "a column"
    return SchemaDrift(
        f"{operation.table} has no column {column}, but the catalog declares it: {text}.",
        "Correct the table's declaration in kpc/catalog, or ask the DBA what happened to the column.",
        differences=(f"{column}: declared in the catalog, missing in Oracle",),
    )


def _privilege(operation: OperationContext, text: str) -> KpcError:
    table = "the tables" if operation.table.startswith("V$") else operation.table or "the tables"
    return ConfigError(
        f"User {operation.user} lacks a privilege{f' on {operation.table}' if operation.table else ''}: {text}.",
        f"Ask the DBA: GRANT SELECT, FLASHBACK ON {table} TO {operation.user}; "
        f"GRANT SELECT ON V_$DATABASE TO {operation.user}.",
    )


def _inexact(operation: OperationContext, text: str) -> KpcError:
    return DataUnreadable(
        f"A value of {operation.table} does not fit the exact decimal it is read as: {text}.",
        "Nothing was sealed. Correct the value in Oracle and run the same command again; it reads the table anew.",
    )


def _stop(operation: OperationContext, text: str) -> KpcError:
    where = f" while {operation.table} was read" if operation.table else ""
    return Terminal(
        f"Oracle reported an error{where}: {text}.", "Look it up with the DBA; the partition was not extracted."
    )


def _internal(operation: OperationContext, text: str) -> KpcError:
    where = f" while {operation.table} was read" if operation.table else ""
    return Terminal(
        f"Oracle reported an internal error{where}: {text}.",
        "Send it to the DBA, who finds it in the alert log; finished chunks are kept; the partition was not extracted.",
    )


def inconsistent(what: str) -> DataUnreadable:
    """The error for two reads at one SCN that differ, which should be impossible; `what` gives both numbers."""
    remedy = "Report it to the DBA: two reads of one SCN may not differ. The next run takes a new SCN."
    return DataUnreadable(what, remedy)


_Verdict = Callable[[OperationContext, str], KpcError]

_BY_CODE: dict[str, _Verdict] = {
    # credentials and accounts
    **dict.fromkeys(("ORA-01005", "ORA-01017", "DPY-4001"), _login),
    **dict.fromkeys(("ORA-28000", "ORA-28001", "ORA-28002", "ORA-01045"), _account),
    # addresses
    **dict.fromkeys(("ORA-12514", "ORA-12505", "DPY-6001", "DPY-6003"), _unknown_service),
    **dict.fromkeys(("DPY-4000", "DPY-4017", "DPY-4018", "DPY-4026", "DPY-4027", "DPY-2032"), _bad_dsn),
    # the schema
    "ORA-00942": _no_table,
    "ORA-00904": _no_column,
    **dict.fromkeys(("ORA-01031", "ORA-01749"), _privilege),
    # the snapshot: undo expired, definition changed, object truncated or moved, SCN out of range
    **dict.fromkeys(("ORA-01555", "ORA-01466", "ORA-08103", "ORA-01410", "ORA-08181", "ORA-22924"), _lost),
    # database bugs: the driver drops the session and also reports DPY-4011, but a repeat would fail again
    **dict.fromkeys(("ORA-00600", "ORA-07445"), _internal),
    # the client's own limit for one call: the same limit again would end the same way
    "DPY-4024": _timed_out,
    # a value that would lose digits
    "DPY-4042": _inexact,
    # the session or the instance is gone, or no more sessions are allowed: repeat
    **dict.fromkeys(
        (
            *("DPY-1001", "DPY-4005", "DPY-4011", "DPY-6000", "DPY-6002", "DPY-6005"),
            *("ORA-00018", "ORA-00020", "ORA-00028", "ORA-00060", "ORA-01012", "ORA-01013", "ORA-01033", "ORA-01034"),
            *("ORA-01089", "ORA-01090", "ORA-02396", "ORA-03113", "ORA-03114", "ORA-03135", "ORA-04036"),
            *("ORA-12170", "ORA-12516", "ORA-12519", "ORA-12520", "ORA-12528", "ORA-12541", "ORA-12547"),
        ),
        _down,
    ),
}


@contextmanager
def explained(operation: OperationContext) -> Iterator[None]:
    """Convert driver errors raised inside the block into the migration's own."""
    try:
        yield
    except oracledb.Error as error:
        raise classify(error, operation) from error


def classify(error: oracledb.Error, operation: OperationContext) -> KpcError:
    """The migration's error for a driver error. An unknown code stops the partition: nothing is repeated blindly."""
    text = shown(" ".join(str(error).split("Help:")[0].split()).rstrip("."), _MOST_CHARACTERS)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return _untrusted(operation, text)
    # A refusal by the listener arrives as DPY-6005, with its cause only in the text.
    codes = [f"ORA-{number}" for number in _SIMILAR.findall(text)]
    codes += [f"{kind}-{number.zfill(5) if kind == 'ORA' else number}" for kind, number in _NUMBER.findall(text)]
    specific = [code for code in codes if code in _BY_CODE and code != "DPY-6005"]
    specific.sort(key=lambda code: not code.startswith("ORA"))  # Oracle's own reason before the driver's symptom
    if specific:
        return _BY_CODE[specific[0]](operation, text)
    return (_down if "DPY-6005" in codes else _stop)(operation, text)
