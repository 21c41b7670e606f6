"""One org: its identity, clock, storage and limits."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kpc.emulators.salesforce.org.access import OrgAccess, OrgUser
from kpc.emulators.salesforce.org.clock import Clock
from kpc.emulators.salesforce.org.currencies import CORPORATE, CURRENCIES
from kpc.emulators.salesforce.org.ids import make_id
from kpc.emulators.salesforce.org.jobs import JobRegistry
from kpc.emulators.salesforce.org.key_index import KeyIndexes
from kpc.emulators.salesforce.org.limits import Rolling
from kpc.emulators.salesforce.org.org_schema import org_schema
from kpc.emulators.salesforce.org.permissions import Permissions
from kpc.emulators.salesforce.org.schema import OrgSchema
from kpc.emulators.salesforce.org.setup_rows import write_setup_rows
from kpc.emulators.salesforce.org.storage import Storage, StorageSession, get_setting, put_setting
from kpc.emulators.salesforce.settings import Switches

USERNAME = "integration@kpc.emulator"
TIME_ZONE = "Asia/Bangkok"
PROFILE_ID = "00e5g000000IntgAAC"


@dataclass(frozen=True, slots=True)
class Identity:
    """The org's ids and the credentials that it accepts; the same for the life of a data file."""

    org_id: str
    user_id: str
    client_id: str
    client_secret: str
    username: str
    password: str
    security_token: str


class Org:
    """Everything the request handlers and workers share."""

    def __init__(self, data_file: Path | None, *, clock: Clock, switches: Switches, seed: int) -> None:
        self.clock = clock
        self.switches = switches
        self.seed = seed
        self._schema, self._schema_with_currencies = org_schema(), org_schema(multi_currency=True)
        self._temporary = None if data_file else Path(tempfile.mkdtemp(prefix="salesforce-emulator-"))
        self.folder = self._temporary or Path(f"{data_file}.files")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.storage = Storage(data_file, self._schema_with_currencies, self.folder)
        with self.storage.writing() as session:
            self.identity = _identity(session, clock.now())
        identity = self.identity
        first = OrgUser(identity.user_id, identity.username, identity.password, Permissions())
        self.access = OrgAccess(self.storage, self._objects, first)
        write_setup_rows(self.storage, self.access)
        self.key_indexes = KeyIndexes(switches)
        self.jobs = JobRegistry(self.storage, self.folder)
        self.api_requests = Rolling(clock.now)
        self.batches = Rolling(clock.now)
        self.records = Rolling(clock.now)
        self.query_jobs = Rolling(clock.now)
        self.query_bytes = Rolling(clock.now)  # results of bulk queries, at the real size
        self._recall_usage()

    @property
    def scale(self) -> int:
        """Records that each stored record stands for when a query is costed; 0: no query costs time."""
        return self.switches.scale

    @property
    def schema(self) -> OrgSchema:
        """The objects, fields and records that the acting user sees."""
        return self.access.seen

    @property
    def whole_schema(self) -> OrgSchema:
        """All of them."""
        return self.access.whole

    def _objects(self) -> OrgSchema:
        """What the org holds, as its switches say."""
        return self._schema_with_currencies if self.switches.multi_currency else self._schema

    def keep_user(self, username: str, permissions: dict[str, object]) -> OrgUser:
        """Make a user, or change his permissions. Raises `OptionError` for permissions that are not known."""
        user = self.access.keep_user(username, permissions)
        with self.storage.writing() as session:
            _create_user(session, user, self.clock.now().replace(tzinfo=None))
        write_setup_rows(self.storage, self.access)
        return user

    def change_setup(self, changes: dict[str, object]) -> dict[str, object]:
        """Sharing, rules and so on, as an administrator sets them up. Raises `OptionError` for what is not known."""
        setup = self.access.change_setup(changes)
        write_setup_rows(self.storage, self.access)
        return setup.as_dict()

    def _recall_usage(self) -> None:
        with self.storage.reading() as session:
            for rows, started in session.run("SELECT rows, started FROM emulator.batch ORDER BY started"):
                self.batches.add(1, started.replace(tzinfo=UTC))
                self.records.add(rows, started.replace(tzinfo=UTC))
        for job in self.jobs:
            if job.kind == "query":
                self.query_jobs.add(1, datetime.fromtimestamp(job.created, UTC))
                self.query_bytes.add(job.result_bytes, datetime.fromtimestamp(job.created, UTC))

    def close(self) -> None:
        self.storage.close()
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _identity(session: StorageSession, now: datetime) -> Identity:
    """What the data file remembers, or a new org with its user."""
    fresh = {
        "org_id": make_id("00D", secrets.randbelow(62**8)),
        "user_id": make_id("005", secrets.randbelow(62**8)),
        "client_id": "3MVG9" + secrets.token_urlsafe(48),
        "client_secret": secrets.token_hex(32).upper(),
        "username": USERNAME,
        "password": secrets.token_urlsafe(12),
        "security_token": secrets.token_urlsafe(18),
    }
    for name, value in fresh.items():
        known = get_setting(session, name)
        if known is None:
            put_setting(session, name, value)
        else:
            fresh[name] = known
    identity = Identity(**fresh)
    if not session.run('SELECT 1 FROM org."User" WHERE Id = ?', [identity.user_id]):
        _create_people(session, identity, now.replace(tzinfo=None))
    if not session.run('SELECT 1 FROM org."CurrencyType" LIMIT 1'):
        _create_currencies(session, identity, now.replace(tzinfo=None))
    return identity


_NAMES = "Id, IsDeleted, CreatedDate, CreatedById, LastModifiedDate, LastModifiedById, SystemModstamp"
_VALUES = "$id, false, $now, $user, $now, $user, $now"


def _create_currencies(session: StorageSession, identity: Identity, now: datetime) -> None:
    """Visible only while the org has several currencies."""
    for number, each in enumerate(CURRENCIES, 1):
        session.run(
            'INSERT INTO org."CurrencyType" (Id, IsDeleted, CreatedDate, CreatedById, LastModifiedDate,'
            " LastModifiedById, SystemModstamp, IsoCode, ConversionRate, DecimalPlaces, IsActive, IsCorporate)"
            " VALUES ($1, false, $2, $3, $2, $3, $2, $4, $5, $6, $8, $7)",
            [
                make_id("01L", number),
                now,
                identity.user_id,
                each.code,
                each.rate,
                each.places,
                each is CORPORATE,
                each.is_active,
            ],
        )


def _create_people(session: StorageSession, identity: Identity, now: datetime) -> None:
    user = OrgUser(identity.user_id, identity.username, identity.password, Permissions())
    _create_user(session, user, now)
    session.run_named(
        f'INSERT INTO org."Organization" ({_NAMES}, Name, OrganizationType, IsSandbox, InstanceName,'
        " LanguageLocaleKey, TimeZoneSidKey)"
        f" VALUES ({_VALUES}, 'Salesforce emulator', 'Developer Edition', false, 'EMU1', 'en_US', $zone)",
        {"id": identity.org_id, "now": now, "user": identity.user_id, "zone": TIME_ZONE},
    )


def _create_user(session: StorageSession, user: OrgUser, now: datetime) -> None:
    """The user's record, unless there is one."""
    first, _, last = ("Integration", "", "Emulator") if user.username == USERNAME else user.username.partition("@")
    session.run_named(
        f'INSERT INTO org."User" ({_NAMES}, Name, Username, "Username$key", FirstName, LastName, Email, IsActive,'
        " TimeZoneSidKey, LocaleSidKey, LanguageLocaleKey, UserType, ProfileId)"
        f" SELECT {_VALUES}, $first || ' ' || $last, $name, lower($name), $first, $last, $name, true,"
        " $zone, 'en_US', 'en_US', 'Standard', $profile"
        ' WHERE NOT EXISTS (SELECT 1 FROM org."User" WHERE Id = $id)',
        {"id": user.user_id, "now": now, "user": user.user_id, "name": user.username, "first": first, "last": last,
         "zone": TIME_ZONE, "profile": PROFILE_ID},
    )  # fmt: skip
