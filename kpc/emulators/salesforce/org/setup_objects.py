"""Setup's own objects, as a client queries them: permissions, sharing models, rules, triggers, flows, record types.

By the Object Reference and the Tooling API's: ValidationRule is in the Tooling API only; ObjectPermissions,
FieldPermissions, PermissionSet, triggers, flows and rules need View Setup and Configuration.
"""

from __future__ import annotations

from kpc.emulators.salesforce.org.fields import reference_field, system_fields, text_field
from kpc.emulators.salesforce.org.schema import SObject, SObjectField

# The system permissions of a profile, by the names that the API gives them.
SYSTEM_PERMISSIONS = {
    "api_enabled": "PermissionsApiEnabled",
    "view_all_data": "PermissionsViewAllData",
    "modify_all_data": "PermissionsModifyAllData",
    "view_setup": "PermissionsViewSetup",
    "bulk_api_hard_delete": "PermissionsBulkApiHardDelete",
}
OBJECT_PERMISSIONS = {
    "read": "PermissionsRead",
    "create": "PermissionsCreate",
    "edit": "PermissionsEdit",
    "delete": "PermissionsDelete",
    "view_all": "PermissionsViewAllRecords",
    "modify_all": "PermissionsModifyAllRecords",
}
RECORD_ACCESS = "UserRecordAccess"
WITHOUT_VIEW_SETUP = frozenset({"UserPermissionAccess", RECORD_ACCESS, "EntityDefinition", "RecordType"})
ONLY_TOOLING = frozenset({"ValidationRule"})
IN_TOOLING = ONLY_TOOLING | {"ApexTrigger", "EntityDefinition", "FlowDefinitionView", "RecordType"}
# Of which only the acting user's rows are seen; the column that names him is no field.
OF_ACTING_USER = ("UserPermissionAccess", "UserId")


def _flag(name: str) -> SObjectField:
    return SObjectField(name, "boolean", nillable=False, defaulted=True)


def _of(name: str, prefix: str, *fields: SObjectField) -> SObject:
    every = (*system_fields(owner=False), *fields)
    return SObject(name, prefix, every, name, createable=False, updateable=False, deletable=False, is_setup=True)


def setup_objects() -> list[SObject]:
    system = [_flag(each) for each in SYSTEM_PERMISSIONS.values()]
    return [
        _of("PermissionSet", "0PS", text_field("Name"), reference_field("ProfileId", "User", "Profile"),
            _flag("IsOwnedByProfile"), *system),
        _of("PermissionSetAssignment", "0Pa", reference_field("PermissionSetId", "PermissionSet", "PermissionSet"),
            reference_field("AssigneeId", "User", "Assignee")),
        _of("UserPermissionAccess", "0UP", text_field("UserId"), *system),
        _of("ObjectPermissions", "110", reference_field("ParentId", "PermissionSet", "Parent"),
            text_field("SobjectType"), *map(_flag, OBJECT_PERMISSIONS.values())),
        _of("FieldPermissions", "01k", reference_field("ParentId", "PermissionSet", "Parent"),
            text_field("SobjectType"), text_field("Field"), _flag("PermissionsRead"), _flag("PermissionsEdit")),
        _of("EntityDefinition", "4ie", text_field("DurableId"), text_field("QualifiedApiName"), text_field("Label"),
            text_field("InternalSharingModel"), text_field("ExternalSharingModel"), text_field("KeyPrefix")),
        _of("ApexTrigger", "01q", text_field("Name", name_field=True), text_field("TableEnumOrId"),
            text_field("Status")),
        _of("FlowDefinitionView", "300", text_field("ApiName"), text_field("Label"), text_field("ProcessType"),
            text_field("TriggerType"), _flag("IsActive"),
            reference_field("TriggerObjectOrEventId", "EntityDefinition", "TriggerObjectOrEvent")),
        _of("DuplicateRule", "0Bm", text_field("DeveloperName"), text_field("MasterLabel"), text_field("SobjectType"),
            _flag("IsActive")),
        _of("ValidationRule", "03d", text_field("ValidationName"), _flag("Active"), text_field("ErrorMessage"),
            reference_field("EntityDefinitionId", "EntityDefinition", "EntityDefinition")),
        _of(RECORD_ACCESS, "0UR", text_field("RecordId", 18), text_field("UserId", 18), _flag("HasReadAccess"),
            _flag("HasEditAccess"), _flag("HasDeleteAccess")),
        _of("RecordType", "012", text_field("Name", name_field=True), text_field("DeveloperName"),
            text_field("SobjectType"), _flag("IsActive")),
    ]  # fmt: skip
