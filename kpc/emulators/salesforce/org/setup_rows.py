"""The rows of Setup's objects: written anew whenever users, permissions or rules change."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from kpc.emulators.salesforce.org.access import OrgAccess, OrgUser
from kpc.emulators.salesforce.org.ids import make_id
from kpc.emulators.salesforce.org.permissions import Permissions
from kpc.emulators.salesforce.org.schema import SObject, SObjectField
from kpc.emulators.salesforce.org.setup import OrgSetup
from kpc.emulators.salesforce.org.setup_objects import OBJECT_PERMISSIONS, SYSTEM_PERMISSIONS
from kpc.emulators.salesforce.org.storage import Storage, StorageSession, quoted, table_of

_Row = dict[str, object]


def write_setup_rows(storage: Storage, access: OrgAccess) -> None:
    """Replace what the tables of Setup's objects hold."""
    rows = list(_rows(access))
    with storage.writing() as session:
        for sobject in access.whole:
            if sobject.is_setup:
                own = [row for name, row in rows if name == sobject.name]
                session.run(f"DELETE FROM {table_of(sobject)}")
                if own:
                    _insert(session, sobject, own)


def _insert(session: StorageSession, sobject: SObject, rows: list[_Row]) -> None:
    frame = pl.DataFrame(
        [{"Id": make_id(sobject.prefix, number), "IsDeleted": False, **row} for number, row in enumerate(rows, 1)]
    )
    names = ", ".join(map(quoted, frame.columns))
    with session.given("setup_rows", frame.to_arrow()):
        session.run(f"INSERT INTO {table_of(sobject)} ({names}) SELECT {names} FROM setup_rows")


def _rows(access: OrgAccess) -> Iterator[tuple[str, _Row]]:
    custom = [each for each in access.whole if not each.is_setup]
    entities = {each.name: make_id("4ie", number) for number, each in enumerate(custom, 1)}
    for each in custom:
        yield "EntityDefinition", _entity(each, entities[each.name], access.setup)
    for number, user in enumerate(access.users.values(), 1):
        yield from _of_user(user, make_id("0PS", number), custom)
    yield from _automations(access.setup, entities)


def _entity(sobject: SObject, entity_id: str, setup: OrgSetup) -> _Row:
    model = setup.sharing_of(sobject)
    names = {"DurableId": sobject.name, "QualifiedApiName": sobject.name, "Label": sobject.label}
    return {"Id": entity_id, **names, "InternalSharingModel": model, "ExternalSharingModel": "Private",
            "KeyPrefix": sobject.prefix}  # fmt: skip


def _of_user(user: OrgUser, set_id: str, objects: list[SObject]) -> Iterator[tuple[str, _Row]]:
    """A user's profile, as the permission set that stands for it, with his rights on objects and fields."""
    permissions = user.permissions
    system: _Row = {api: getattr(permissions, name) for name, api in SYSTEM_PERMISSIONS.items()}
    yield "PermissionSet", {"Id": set_id, "Name": f"X{set_id}", "IsOwnedByProfile": True, **system}
    yield "PermissionSetAssignment", {"PermissionSetId": set_id, "AssigneeId": user.user_id}
    yield "UserPermissionAccess", {"UserId": user.user_id, **system}
    for sobject in objects:
        if permissions.may(sobject, "read"):
            rights: _Row = {api: permissions.may(sobject, right) for right, api in OBJECT_PERMISSIONS.items()}
            yield "ObjectPermissions", {"ParentId": set_id, "SobjectType": sobject.name, **rights}
        for spec in sobject.fields:
            if spec.is_custom and not spec.is_required:
                yield from _of_field(permissions, sobject, spec, set_id)


def _of_field(
    permissions: Permissions, sobject: SObject, spec: SObjectField, set_id: str
) -> Iterator[tuple[str, _Row]]:
    right = permissions.field_right(sobject, spec)
    if right != "none":
        facts = {"PermissionsRead": True, "PermissionsEdit": right == "edit"}
        name = f"{sobject.name}.{spec.name}"
        yield "FieldPermissions", {"ParentId": set_id, "SobjectType": sobject.name, "Field": name, **facts}


def _automations(setup: OrgSetup, entities: dict[str, str]) -> Iterator[tuple[str, _Row]]:
    for each in setup.validation_rules:
        facts: _Row = {"ValidationName": each["name"], "Active": each["active"]}
        message = each.get("message", each["name"])
        yield "ValidationRule", {**facts, "ErrorMessage": message, "EntityDefinitionId": entities[each["object"]]}
    for each in setup.duplicate_rules:
        names = {"DeveloperName": each["name"], "MasterLabel": each["name"], "SobjectType": each["object"]}
        yield "DuplicateRule", {**names, "IsActive": each["active"]}
    for each in setup.triggers:
        status = "Active" if each["active"] else "Inactive"
        yield "ApexTrigger", {"Name": each["name"], "TableEnumOrId": each["object"], "Status": status}
    for each in setup.flows:
        kind = {"ProcessType": "AutoLaunchedFlow", "TriggerType": "RecordAfterSave", "IsActive": each["active"]}
        names = {"ApiName": each["name"], "Label": each["name"], "TriggerObjectOrEventId": entities[each["object"]]}
        yield "FlowDefinitionView", {**names, **kind}
    for each in setup.record_types:
        names = {"Name": each["name"], "DeveloperName": each["name"], "SobjectType": each["object"]}
        yield "RecordType", {**names, "IsActive": each["active"]}
