"""Sessions: opened within a time limit, labelled for the DBA, closed whatever happens."""

from __future__ import annotations

import queue
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import oracledb

from kpc.errors import ConfigError, OracleDown
from kpc.oracle.failures import Doing, classify
from kpc.settings import OracleSettings

MODULE = "kpc-migration"
PACKET_BYTES = 65_535  # asked for; the server may answer less. The driver's 8,192 cost 5-10 % more CPU when measured
# Text is compared and ordered by its bytes, whatever the database's default: ranges of keys depend on it.
_BINARY_ORDER = "ALTER SESSION SET NLS_SORT = BINARY NLS_COMP = BINARY"


@dataclass(frozen=True, slots=True)
class Oracle:
    """The source database as the settings name it."""

    settings: OracleSettings

    @property
    def owner(self) -> str:
        return (self.settings.owner or self.settings.user).upper()

    @contextmanager
    def session(self, action: str) -> Iterator[oracledb.Connection]:
        """A session whose module and action tell a DBA in V$SESSION what it does.

        Raises `ConfigError` for wrong credentials or addresses and `OracleDown` for a silent or unreachable listener,
        the latter after `connect_timeout_s` at most.
        """
        connection = _connect(self.settings)
        try:
            connection.call_timeout = int(self.settings.call_timeout_s * 1000)
            with self.explaining(), connection.cursor() as cursor:
                cursor.execute(_BINARY_ORDER)
            connection.module = MODULE
            connection.action = action[:64]
            yield connection
        finally:
            with suppress(oracledb.Error):
                connection.close()

    def doing(self, table: str = "") -> Doing:
        """Words for an error message about `table`."""
        is_dictionary = table.startswith(("V$", "ALL_"))
        return Doing(
            self.settings.dsn, self.settings.user, table if is_dictionary or not table else f"{self.owner}.{table}"
        )

    @contextmanager
    def explaining(self, table: str = "") -> Iterator[None]:
        """Turn driver errors inside into the migration's own."""
        try:
            yield
        except oracledb.Error as error:
            raise classify(error, self.doing(table)) from error

    def identity(self) -> str:
        """Database id and incarnation: what tells this database from its clones and from itself before a RESETLOGS."""
        with self.session("identity") as connection, self.explaining("V$DATABASE"), connection.cursor() as cursor:
            cursor.execute('SELECT DBID, "RESETLOGS_CHANGE#" FROM V$DATABASE')
            row = cursor.fetchone()
            if row is None:
                raise ConfigError("V$DATABASE has no row.", "Ask the DBA; this is not a database that can be read.")
            return f"ora-{int(row[0])}-{int(row[1])}"


def _connect(settings: OracleSettings) -> oracledb.Connection:
    """Connect under our own watchdog.

    The driver's time limits end with the TCP handshake: a listener that accepts and then stays silent would block it,
    and with it every other first connect of the process, for ever (seen with python-oracledb 26.1).
    """
    if not settings.dsn or not settings.user:
        raise ConfigError(
            "The address or the user of Oracle is not set.",
            "Set KPC__ORACLE__DSN (host:port/service), KPC__ORACLE__USER and KPC__ORACLE__PASSWORD.",
        )
    oracledb.enable_thin_mode()  # type: ignore[no-untyped-call]  # the driver types only part of its interface
    answer: queue.SimpleQueue[oracledb.Connection | BaseException] = queue.SimpleQueue()
    has_given_up = threading.Event()

    def connect() -> None:
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
        except BaseException as error:  # noqa: BLE001  handed over to the waiting thread, which raises it
            answer.put(error)
            return
        if has_given_up.is_set():
            connection.close()
        answer.put(connection)

    threading.Thread(target=connect, name="oracle-connect", daemon=True).start()
    try:
        # Slack, so that the driver's own and better worded time-out wins where it works.
        outcome = answer.get(timeout=settings.connect_timeout_s + 1.0)
    except queue.Empty:
        has_given_up.set()
        raise OracleDown(
            f"Oracle at {settings.dsn} accepted the connection but said nothing for "
            f"{settings.connect_timeout_s:.0f} s.",
            "Check that the address is an Oracle listener and that no firewall swallows its answers.",
        ) from None
    if isinstance(outcome, BaseException):
        raise _refusal(outcome, settings)
    return outcome


def _trusted(settings: OracleSettings) -> ssl.SSLContext | None:
    """Whom a tcps:// listener's certificate must come from; None leaves it to the driver: the system's authorities."""
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
    """What a failed connect means."""
    if isinstance(outcome, oracledb.Error):
        return classify(outcome, Doing(settings.dsn, settings.user))
    if isinstance(outcome, OSError):  # a host name that does not resolve is no driver error
        return OracleDown(
            f"Oracle at {settings.dsn} cannot be reached: {outcome}.",
            "Check the host name and port in KPC__ORACLE__DSN, and the network. Check it with `kpc preflight`.",
        )
    return outcome
