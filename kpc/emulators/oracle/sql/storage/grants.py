"""Users, and their privileges on objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kpc.emulators.oracle.sql.messages import ora

DBA = "SYS"  # has every right and no password: nobody logs in as this user
PUBLIC = "PUBLIC"
OWNERS = (  # system privileges of a user who owns tables
    "CREATE SESSION",
    "CREATE TABLE",
    "CREATE VIEW",
    "CREATE SEQUENCE",
    "UNLIMITED TABLESPACE",
    "FLASHBACK ANY TABLE",
    "SELECT ANY DICTIONARY",
)
EXEMPT_FROM_POLICIES, EXEMPT_FROM_REDACTION = "EXEMPT ACCESS POLICY", "EXEMPT REDACTION POLICY"
SYSTEM_PRIVILEGES = (*OWNERS, EXEMPT_FROM_POLICIES, EXEMPT_FROM_REDACTION)
OBJECT_PRIVILEGES = ("SELECT", "READ", "INSERT", "UPDATE", "DELETE", "ALTER", "INDEX", "REFERENCES", "FLASHBACK")
READING = frozenset({"SELECT", "READ"})
# V$ views that everybody may read; the others need SELECT ANY DICTIONARY, or SELECT on SYS.V_$...
CATALOG_VIEWS = ("V$", "REDACTION_")  # not for everybody
_PUBLIC_VIEWS = frozenset({"V$VERSION", "V$NLS_PARAMETERS"})


@dataclass(slots=True)
class User:
    name: str
    password: str
    privileges: set[str] = field(default_factory=set)
    is_locked: bool = False


class Grants:
    """Object privileges by owner and object, system privileges by user."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self._objects: dict[tuple[str, str], dict[str, set[str]]] = {}

    def has_system(self, user: str, *privileges: str) -> bool:
        """Whether the user, or everybody, has one of these system privileges."""
        held = self.users.get(user)
        return user == DBA or (held is not None and not held.privileges.isdisjoint(privileges))

    def on_object(self, user: str, owner: str, name: str) -> set[str]:
        """What the user may do with an object of somebody else."""
        given = self._objects.get((owner, name), {})
        return given.get(user, set()) | given.get(PUBLIC, set())

    def is_visible(self, user: str, owner: str, name: str) -> bool:
        return user in (owner, DBA) or bool(self.on_object(user, owner, name))

    def check(self, user: str, owner: str, name: str, wanted: Iterable[str]) -> None:
        """Raises ORA-00942 if the object is invisible to the user, ORA-01031 if only this privilege is missing."""
        if user in (owner, DBA):
            return
        held = self.on_object(user, owner, name)
        if not held:
            raise ora(942)
        if held.isdisjoint(wanted):
            raise ora(1031)

    def check_flashback(self, user: str, owner: str, name: str) -> None:
        """AS OF needs FLASHBACK beside SELECT. Raises ORA-01031."""
        if user not in (owner, DBA) and not self.has_system(user, "FLASHBACK ANY TABLE"):
            self.check(user, owner, name, {"FLASHBACK"})

    def may_read_view(self, user: str, name: str) -> bool:
        """Whether a V$ or REDACTION_ view exists for the user."""
        if (
            not name.startswith(CATALOG_VIEWS)
            or name in _PUBLIC_VIEWS
            or self.has_system(user, "SELECT ANY DICTIONARY")
        ):
            return True
        return not self.on_object(user, DBA, name.replace("V$", "V_$", 1)).isdisjoint(READING)

    def grant(self, user: str, privileges: Iterable[str], on: tuple[str, str] | None) -> None:
        if on is None:
            self.users[user].privileges.update(privileges)
        else:
            self._objects.setdefault(on, {}).setdefault(user, set()).update(privileges)

    def revoke(self, user: str, privileges: Iterable[str], on: tuple[str, str] | None) -> None:
        """Raises ORA-01927 or ORA-01952 for what was not granted."""
        held = self.users[user].privileges if on is None else self._objects.get(on, {}).get(user, set())
        if not held.issuperset(privileges):
            raise ora(1927) if on else ora(1952, user)
        held.difference_update(privileges)

    def forget_object(self, owner: str, name: str) -> None:
        self._objects.pop((owner, name), None)

    def forget_user(self, user: str) -> None:
        del self.users[user]
        for given in self._objects.values():
            given.pop(user, None)
