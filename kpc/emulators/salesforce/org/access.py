"""Who acts, and which objects, fields and records he sees: permissions and sharing."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from kpc.emulators.salesforce.org.ids import make_id
from kpc.emulators.salesforce.org.permissions import Permissions
from kpc.emulators.salesforce.org.schema import OrgSchema, SObject, SObjectField
from kpc.emulators.salesforce.org.setup import OrgSetup
from kpc.emulators.salesforce.org.setup_objects import (
    IN_TOOLING,
    OF_ACTING_USER,
    ONLY_TOOLING,
    RECORD_ACCESS,
    WITHOUT_VIEW_SETUP,
)
from kpc.emulators.salesforce.org.storage import Storage, get_setting, put_setting, table_of


@dataclass(frozen=True, slots=True)
class Acting:
    """The user of a request or job, and whether he asks the Tooling API."""

    user_id: str
    is_tooling: bool = False


_ACTING: ContextVar[Acting | None] = ContextVar("acting", default=None)


@contextmanager
def acting_as(user_id: str, *, is_tooling: bool = False) -> Iterator[None]:
    """`Org.schema` is what this user sees, in this task and in threads that it starts."""
    mark = _ACTING.set(Acting(user_id, is_tooling))
    try:
        yield
    finally:
        _ACTING.reset(mark)


@dataclass(frozen=True, slots=True)
class OrgUser:
    """One person or integration that can log in."""

    user_id: str
    username: str
    password: str
    permissions: Permissions


class OrgAccess:
    """The users of one org with their permissions, and what the administrator has set up.

    `objects` answers what the org holds at present.
    """

    def __init__(self, storage: Storage, objects: Callable[[], OrgSchema], first: OrgUser) -> None:
        self._storage = storage
        self._objects = objects
        self._lock = threading.Lock()
        self._views: dict[tuple[Acting | None, int], OrgSchema] = {}
        with storage.reading() as session:
            users = json.loads(get_setting(session, "users") or "{}")
            self.setup = OrgSetup(**json.loads(get_setting(session, "setup") or "{}"))
        self.users = {first.user_id: first}
        for each in users.values():
            permissions = Permissions(**each.pop("permissions"))
            self.users[each["user_id"]] = OrgUser(permissions=permissions, **each)

    def find(self, username: str) -> OrgUser | None:
        return next((each for each in self.users.values() if each.username.lower() == username.lower()), None)

    def permissions_of(self, user_id: str) -> Permissions:
        return self.users[user_id].permissions if user_id in self.users else Permissions()

    def keep_user(self, username: str, changes: dict[str, object]) -> OrgUser:
        """A user with these permissions, made or changed."""
        known = self.find(username) or OrgUser(
            make_id("005", secrets.randbelow(62**8)), username, secrets.token_urlsafe(12), Permissions()
        )
        kept = replace(known, permissions=known.permissions.changed(changes, self._objects()))
        with self._lock:
            self.users = {**self.users, kept.user_id: kept}
            self._views = {}
        self._save()
        return kept

    def change_setup(self, changes: dict[str, object]) -> OrgSetup:
        setup = self.setup.changed(changes, self._objects())
        with self._lock:
            self.setup = setup
            self._views = {}
        self._save()
        return setup

    def _save(self) -> None:
        users = {
            each.user_id: {
                "user_id": each.user_id,
                "username": each.username,
                "password": each.password,
                "permissions": each.permissions.as_dict(),
            }
            for each in self.users.values()
        }
        with self._storage.writing() as session:
            put_setting(session, "users", json.dumps(users))
            put_setting(session, "setup", json.dumps(self.setup.as_dict()))

    @property
    def whole(self) -> OrgSchema:
        """All objects, fields and records."""
        return self._view(None)

    @property
    def seen(self) -> OrgSchema:
        """What the acting user sees; without one, all."""
        return self._view(_ACTING.get())

    def _view(self, acting: Acting | None) -> OrgSchema:
        with self._lock:
            objects = self._objects()
            name = (acting, id(objects))
            if (view := self._views.get(name)) is None:
                whole = self.setup.applied(objects)
                view = whole if acting is None else OrgSchema(self._seen_objects(whole, acting))
                self._views[name] = view
            return view

    def _seen_objects(self, whole: OrgSchema, acting: Acting) -> Iterator[SObject]:
        permissions = self.permissions_of(acting.user_id)
        for each in whole:
            if each.is_setup:
                has_setup = permissions.view_setup or each.name in WITHOUT_VIEW_SETUP
                is_here = each.name in IN_TOOLING if acting.is_tooling else each.name not in ONLY_TOOLING
                if has_setup and is_here:
                    yield self._setup_object(whole, each, acting.user_id)
            elif acting.is_tooling:
                continue
            elif permissions.may(each, "read"):
                yield self._seen_object(each, acting.user_id, permissions)

    def _setup_object(self, whole: OrgSchema, sobject: SObject, user_id: str) -> SObject:
        if sobject.name != RECORD_ACCESS:
            return _own_rows(sobject, user_id)
        parts = [
            self._record_access(each, user)
            for each in whole
            if not each.is_setup and each.find("OwnerId")
            for user in self.users.values()
        ]
        return replace(sobject, rows_sql=" UNION ALL ".join(parts))

    def _record_access(self, sobject: SObject, user: OrgUser) -> str:
        """What a user may do with each record of an object, as rows of UserRecordAccess."""
        may, model = user.permissions.may, self.setup.sharing_of(sobject)
        own, every, none = f"OwnerId = '{user.user_id}'", "true", "false"
        has_all = may(sobject, "modify_all")
        read = every if may(sobject, "view_all") or model != "Private" else own
        edit = every if has_all or model == "ReadWrite" else own
        rights = {
            "HasReadAccess": read if may(sobject, "read") else none,
            "HasEditAccess": edit if may(sobject, "edit") else none,
            "HasDeleteAccess": (every if has_all else own) if may(sobject, "delete") else none,
        }
        columns = ", ".join(f"{sql} AS {name}" for name, sql in rights.items())
        known = f"Id, IsDeleted, Id AS RecordId, '{user.user_id}' AS UserId"
        return f"SELECT {known}, {columns} FROM {table_of(sobject)}"

    def _seen_object(self, sobject: SObject, user_id: str, permissions: Permissions) -> SObject:
        fields = tuple(
            spec if right == "edit" else replace(spec, createable=False, updateable=False)
            for spec in sobject.fields
            if (right := permissions.field_right(sobject, spec)) != "none"
        )
        is_private = self.setup.sharing_of(sobject) == "Private" and not permissions.may(sobject, "view_all")
        rights: dict[str, Any] = {
            "createable": sobject.createable and permissions.may(sobject, "create"),
            "updateable": sobject.updateable and permissions.may(sobject, "edit"),
            "deletable": sobject.deletable and permissions.may(sobject, "delete"),
        }
        visible = f"OwnerId = '{user_id}'" if is_private and sobject.find("OwnerId") else ""
        if fields == sobject.fields and not visible and all(getattr(sobject, name) == rights[name] for name in rights):
            return sobject
        return replace(sobject, fields=fields, visible_sql=visible, **rights)

    def may_change_foreign(self, sobject: SObject, operation: str) -> bool:
        """Whether the acting user may change (`delete`: delete) records that are another's."""
        acting = _ACTING.get()
        if acting is None or self.permissions_of(acting.user_id).may(sobject, "modify_all"):
            return True
        is_delete = operation in ("delete", "hardDelete")
        return self.setup.sharing_of(sobject) == "ReadWrite" and not is_delete


def _own_rows(sobject: SObject, user_id: str) -> SObject:
    name, column = OF_ACTING_USER
    if sobject.name != name:
        return sobject
    fields: tuple[SObjectField, ...] = tuple(each for each in sobject.fields if each.name != column)
    return replace(sobject, fields=fields, visible_sql=f"{column} = '{user_id}'")
