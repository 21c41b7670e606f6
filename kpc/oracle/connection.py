"""Connect to Oracle within a time limit, and classify a failed attempt."""

from __future__ import annotations

import queue
import ssl
import threading
from pathlib import Path
from typing import Any

import oracledb

from kpc.errors import ConfigError, KpcError, OracleDown, Transient
from kpc.oracle import driver_mode
from kpc.oracle.addresses import SingleAddress, single_addresses
from kpc.oracle.failures import OperationContext, classify, reason_of
from kpc.settings import OracleSettings

_WALLET = "ewallet.pem"
PACKET_BYTES = 65_535  # requested; the server may grant less. The driver's 8,192 cost 5-10 % more CPU when measured
# One second more than the driver's own limit, because the driver's error message is better when it comes.
_MARGIN_S = 1.0
_NOT_CONNECTED = ("DPY-6005", "ORA-12", "ORA-03113", "ORA-03135")  # thin mode; Oracle's client libraries


def connect(settings: OracleSettings, *, is_known: bool = False) -> oracledb.Connection:
    """A driver connection, or an error after `connect_timeout_s` at most for each address that the DSN leads to.

    `is_known`: this database has answered before, so that a service without a listener is down and not mistyped.
    """
    if not settings.dsn or not settings.user:
        raise ConfigError(
            "The address or the user of Oracle is not set.",
            "Set KPC__ORACLE__DSN (host:port/service), KPC__ORACLE__USER and KPC__ORACLE__PASSWORD.",
        )
    driver_mode.enable(settings)
    operation = OperationContext(settings.dsn, settings.user, is_known=is_known)
    credentials = _credentials(settings)
    params = _parameters(settings, operation)
    if params is not None and not _matches_names(params):
        credentials["ssl_server_dn_match"] = False
    failed: list[tuple[SingleAddress, KpcError, str]] = []
    for address, limit_s in _addresses(settings, params):
        outcome = _outcome(address, credentials, limit_s)
        if isinstance(outcome, oracledb.Connection):
            return outcome
        error = _refusal(outcome, operation, limit_s)
        if not isinstance(error, KpcError) or not _may_try_next(outcome):
            raise error
        failed.append((address, error, _short(outcome, limit_s)))
    raise _of_all(failed, operation)


def _parameters(settings: OracleSettings, operation: OperationContext) -> oracledb.ConnectParams | None:
    """The DSN with the settings; None for a name that only Oracle's client libraries can look up.

    Raises `ConfigError` if it cannot be read.
    """
    params: oracledb.ConnectParams = oracledb.ConnectParams(
        sdu=PACKET_BYTES,
        tcp_connect_timeout=settings.connect_timeout_s,
        expire_time=settings.expire_time_min,
        wallet_location=_text(settings.wallet_location),
        ssl_server_dn_match=settings.ssl_server_dn_match,
        ssl_server_cert_dn=settings.ssl_server_cert_dn or None,
        config_dir=_text(settings.config_dir) or oracledb.defaults.config_dir,
    )
    try:
        params.parse_connect_string(settings.dsn)
    except oracledb.Error as error:
        if settings.thick_mode:  # as in a directory server
            return None
        raise classify(error, operation) from None
    return params


def _matches_names(params: oracledb.ConnectParams) -> bool:
    """Whether certificates are compared with names: the driver leaves the answer out of the descriptor that it writes.

    A list of descriptors has several answers; the driver writes those that are true.
    """
    asked = params.ssl_server_dn_match
    return all(asked) if isinstance(asked, list) else bool(asked)


def _addresses(settings: OracleSettings, params: oracledb.ConnectParams | None) -> list[tuple[SingleAddress, float]]:
    """Each address with its time."""
    if params is None:
        return [(SingleAddress(settings.dsn, settings.dsn), settings.connect_timeout_s)]
    asked = params.tcp_connect_timeout  # the DSN may have a longer one
    limit_s = max([settings.connect_timeout_s, *(asked if isinstance(asked, list) else [asked])])
    return [(one, limit_s * one.network_addresses) for one in single_addresses(params.get_connect_string() or "")]


def _credentials(settings: OracleSettings) -> dict[str, Any]:
    facts: dict[str, Any] = {"user": settings.user, "password": settings.password.get_secret_value()}
    if settings.wallet_location is not None and not settings.thick_mode:
        _open_wallet(settings.wallet_location / _WALLET, settings.wallet_password.get_secret_value())
    if wallet_password := settings.wallet_password.get_secret_value():
        facts["wallet_password"] = wallet_password
    return facts | {"ssl_context": _trusted(settings)}


def _open_wallet(file: Path, password: str) -> None:
    """Raises `ConfigError` if the wallet or its password is wrong.

    The driver ignores a wrong password, and OpenSSL asks for a missing one on the terminal.
    """
    try:
        is_encrypted = "ENCRYPTED" in file.read_text(encoding="ascii", errors="replace")
        if is_encrypted and not password:
            raise ConfigError(
                f"The key in the wallet {file} is encrypted, and there is no password for it.",
                "Set KPC__ORACLE__WALLET_PASSWORD.",
            )
        if is_encrypted:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(file, password=password)
    except OSError as error:  # of which SSLError is one
        reason = "the password does not open it" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            f"The wallet {file} cannot be opened: {reason}.",
            "Point KPC__ORACLE__WALLET_LOCATION at the folder with ewallet.pem, and set KPC__ORACLE__WALLET_PASSWORD "
            "to its password if it has one.",
        ) from None


def _text(path: object) -> str | None:
    return str(path) if path else None


def _outcome(
    address: SingleAddress, credentials: dict[str, Any], limit_s: float
) -> oracledb.Connection | BaseException | None:
    """The connection, the driver's error, or None if nothing came in time.

    The driver's own time limits end with the TCP handshake: a listener that accepts the connection and then sends
    nothing would block it forever (seen with python-oracledb 26.1). Therefore a thread connects, and this one waits.
    """
    answer: queue.SimpleQueue[oracledb.Connection | BaseException] = queue.SimpleQueue()
    has_given_up = threading.Event()

    def connect_to_listener() -> None:
        try:
            connection = oracledb.connect(dsn=address.connect_string, **credentials)
        except BaseException as error:  # noqa: BLE001  passed to the waiting thread, which raises it
            answer.put(error)
            return
        if has_given_up.is_set():
            connection.close()
        answer.put(connection)

    threading.Thread(target=connect_to_listener, name="oracle-connect", daemon=True).start()
    try:
        return answer.get(timeout=limit_s + _MARGIN_S)
    except queue.Empty:
        has_given_up.set()
        return None


def _trusted(settings: OracleSettings) -> ssl.SSLContext | None:
    """The authorities trusted to sign a tcps:// listener's certificate; None: the driver uses the system's."""
    if settings.ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{settings.ca_file} cannot be read as certificates: {error}.",
            "Point KPC__ORACLE__CA_FILE at the PEM file of the authority that signed Oracle's certificate.",
        ) from None


def _refusal(outcome: BaseException | None, operation: OperationContext, limit_s: float) -> BaseException:
    """The error to raise for a failed connection attempt."""
    if outcome is None:
        return OracleDown(
            f"Oracle at {operation.dsn} accepted the connection but sent nothing for {limit_s:.0f} s.",
            "Check that the address is an Oracle listener and that no firewall drops its responses.",
        )
    if isinstance(outcome, oracledb.Error):
        return classify(outcome, operation)
    if isinstance(outcome, OSError):  # a host name that does not resolve is not a driver error
        return OracleDown(
            f"Oracle at {operation.dsn} cannot be reached: {outcome}.",
            "Check the host name and port in KPC__ORACLE__DSN, and the network. Check it with `kpc preflight`.",
        )
    return outcome


def _may_try_next(outcome: BaseException | None) -> bool:
    """Whether the next address may answer: not after a refused log-in, which would soon lock the user."""
    if isinstance(outcome, oracledb.Error):
        return str(outcome).startswith(_NOT_CONNECTED)
    return outcome is None or isinstance(outcome, OSError)


def _short(outcome: BaseException | None, limit_s: float) -> str:
    return f"sent nothing for {limit_s:.0f} s" if outcome is None else reason_of(outcome)


def _of_all(failed: list[tuple[SingleAddress, KpcError, str]], operation: OperationContext) -> KpcError:
    """The error that no address answered. Before the database is known, a wrong setting is the likelier cause."""
    errors = [error for _, error, _ in failed]
    error = next((each for each in errors if isinstance(each, Transient) is operation.is_known), errors[-1])
    if len(failed) == 1:
        return error
    each = "; ".join(f"{address.name}: {reason}" for address, _, reason in failed)
    return type(error)(f"{error.what} None of the {len(failed)} addresses gave a session ({each}).", error.remedy)
