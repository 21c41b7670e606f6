"""Connect to Oracle within a time limit, and classify a failed attempt."""

from __future__ import annotations

import queue
import ssl
import threading

import oracledb

from kpc.errors import ConfigError, OracleDown
from kpc.oracle.failures import OperationContext, classify
from kpc.settings import OracleSettings

PACKET_BYTES = 65_535  # requested; the server may grant less. The driver's 8,192 cost 5-10 % more CPU when measured


def connect(settings: OracleSettings) -> oracledb.Connection:
    """A driver connection, or an error after `connect_timeout_s` at most.

    The driver's own time limits end with the TCP handshake: a listener that accepts the connection and then sends
    nothing would block it forever, and with it every other first connection of the process (seen with python-oracledb
    26.1). Therefore a thread connects, and this function waits for it.
    """
    if not settings.dsn or not settings.user:
        raise ConfigError(
            "The address or the user of Oracle is not set.",
            "Set KPC__ORACLE__DSN (host:port/service), KPC__ORACLE__USER and KPC__ORACLE__PASSWORD.",
        )
    oracledb.enable_thin_mode()  # type: ignore[no-untyped-call]  # the driver types only part of its interface
    answer: queue.SimpleQueue[oracledb.Connection | BaseException] = queue.SimpleQueue()
    has_given_up = threading.Event()

    def connect_to_listener() -> None:
        try:
            connection = oracledb.connect(
                user=settings.user,
                password=settings.password.get_secret_value(),
                dsn=settings.dsn,
                sdu=PACKET_BYTES,
                tcp_connect_timeout=settings.connect_timeout_s,
                retry_count=0,
                ssl_context=_trusted(settings),
            )
        except BaseException as error:  # noqa: BLE001  passed to the waiting thread, which raises it
            answer.put(error)
            return
        if has_given_up.is_set():
            connection.close()
        answer.put(connection)

    threading.Thread(target=connect_to_listener, name="oracle-connect", daemon=True).start()
    try:
        # One second more than the driver's own limit, because the driver's error message is better when it comes.
        outcome = answer.get(timeout=settings.connect_timeout_s + 1.0)
    except queue.Empty:
        has_given_up.set()
        raise OracleDown(
            f"Oracle at {settings.dsn} accepted the connection but sent nothing for "
            f"{settings.connect_timeout_s:.0f} s.",
            "Check that the address is an Oracle listener and that no firewall drops its responses.",
        ) from None
    if isinstance(outcome, BaseException):
        raise _refusal(outcome, settings)
    return outcome


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


def _refusal(outcome: BaseException, settings: OracleSettings) -> BaseException:
    """The error to raise for a failed connection attempt."""
    if isinstance(outcome, oracledb.Error):
        return classify(outcome, OperationContext(settings.dsn, settings.user))
    if isinstance(outcome, OSError):  # a host name that does not resolve is not a driver error
        return OracleDown(
            f"Oracle at {settings.dsn} cannot be reached: {outcome}.",
            "Check the host name and port in KPC__ORACLE__DSN, and the network. Check it with `kpc preflight`.",
        )
    return outcome
