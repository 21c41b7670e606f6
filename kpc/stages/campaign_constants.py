"""What may not change within a campaign: the hash key, the time zone, and how external ids are composed.

Each is pinned in the ledger when it is first used. A run with a different value is refused before it reads or sends
anything, because its rows would not match those of earlier runs. `kpc constants adopt` changes one deliberately.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kpc.catalog.types import Pii
from kpc.errors import ConfigError
from kpc.ledger import Vouched, constant_group
from kpc.ledger.constants import PinnedConstant
from kpc.local_time import AHEAD_OF_UTC
from kpc.stages.names import SF_LOADED

if TYPE_CHECKING:
    from kpc.catalog.table import Table
    from kpc.stages.context import PartitionContext

HASH_KEY, TIME_ZONE, EXTERNAL_ID = "hash_key", "time_zone", "external_id"

_ITERATIONS = 100_000  # of PBKDF2: 30 ms for us, and the same for every guess by somebody who has the ledger
_SALT_BYTES = 16
_SCHEME = "pbkdf2-sha256"


@dataclass(frozen=True, slots=True)
class Constant:
    """One constant with this process's value. `reload` says what must be loaded again after a change."""

    name: str
    value: str
    is_secret: bool
    where: str
    reload: str

    def fingerprint(self) -> str:
        """What is pinned: the value itself, or for a secret a salted, slow hash of it."""
        return _hashed(self.value, secrets.token_bytes(_SALT_BYTES)) if self.is_secret else self.value

    def has(self, fingerprint: str) -> bool:
        """Whether a pinned fingerprint matches this value."""
        if not self.is_secret:
            return self.value == fingerprint
        _, _, salt, _ = fingerprint.split("$")
        return hmac.compare_digest(_hashed(self.value, bytes.fromhex(salt)), fingerprint)


def constants_of(context: PartitionContext) -> Iterator[Constant]:
    """The constants that a partition's rows depend on. The hash key is left out if none is set."""
    return constants_for(context.table, context.settings.hash_key.get_secret_value())


def constants_for(table: Table, hash_key: str) -> Iterator[Constant]:
    """The constants that a table's rows depend on, with this hash key."""
    zone = f"UTC+{AHEAD_OF_UTC.total_seconds() / 3600:02.0f}:00"
    all_again = "Every loaded partition: `kpc run TABLE KEY --mode full`."
    yield Constant(TIME_ZONE, zone, is_secret=False, where="kpc/local_time.py", reload=all_again)
    if is_hashed(table) and hash_key:
        again = "Every loaded partition of a table with hashed columns: `kpc run TABLE KEY --mode full`."
        yield Constant(HASH_KEY, hash_key, is_secret=True, where="KPC__HASH_KEY", reload=again)
    yield Constant(
        f"{EXTERNAL_ID}:{table.slug}",
        table.external_id_version,
        is_secret=False,
        where=f"the key of {table.name} in kpc/catalog",
        reload=f"Roll back what is loaded of {table.name} first (`kpc rollback {table.name} KEY`), then load it.",
    )


def is_hashed(table: Table) -> bool:
    """Whether any column of the table is sent as a keyed hash."""
    return any(column.pii is Pii.HASH for column in table.sent_columns)


def require_hash_key(context: PartitionContext) -> None:
    """Raise `ConfigError` if the partition needs a hash key and there is none."""
    if is_hashed(context.table) and not context.settings.hash_key.get_secret_value():
        raise ConfigError(
            f"{context.table.name} has columns that are sent as a keyed hash, but there is no hash key.",
            "Set KPC__HASH_KEY to the campaign's key (the same for every run) and start again.",
        )


def check_constants(context: PartitionContext, stage: str) -> None:
    """Pin constants that this stage is the first to use; raise `ConfigError` if one differs from its pinned value.

    How external ids are composed matters from the first load on; the other constants from the first stage on.
    """
    checked = context.workspace.checked_constants
    if (context.environment, context.table, stage) in checked:
        return
    ledger, environment = context.ledger.constants, context.environment
    for constant in constants_of(context):
        pinned = ledger.find(environment, constant.name)
        if pinned is None and (stage == SF_LOADED or not constant.name.startswith(EXTERNAL_ID)):
            pinned = _pin(context, constant)
        if pinned is not None and not constant.has(pinned.fingerprint):
            raise ConfigError(
                f"{constant.where} is not what this campaign began with: its constant {constant.name} was pinned on "
                f"{pinned.pinned_utc:%Y-%m-%d %H:%M} UTC by {pinned.actor}.",
                f"Restore the former value. To change it deliberately: `kpc constants adopt {constant.name} --reason "
                f"TEXT`, and afterwards load again. {constant.reload}",
            )
    checked.add((context.environment, context.table, stage))


def _pin(context: PartitionContext, constant: Constant) -> PinnedConstant:
    """Pin a constant, with an audit entry; returns another worker's constant if that came first."""
    fingerprint, environment = constant.fingerprint(), context.environment
    who: dict[str, Any] = {"actor": context.actor, "run_id": context.run_id}
    with context.ledger.together():
        pinned = context.ledger.constants.pin(environment, constant.name, fingerprint, **who)
        if pinned.fingerprint == fingerprint and pinned.run_id == context.run_id:
            context.ledger.audit.append(
                "constant pinned",
                environment=environment,
                detail={"name": constant.name, "fingerprint": fingerprint},
                vouched=Vouched((constant_group(environment, constant.name),)),
                **who,
            )
    return pinned


def _hashed(value: str, salt: bytes) -> str:
    made = hashlib.pbkdf2_hmac("sha256", value.encode(), salt, _ITERATIONS)
    return f"{_SCHEME}${_ITERATIONS}${salt.hex()}${made.hex()}"
