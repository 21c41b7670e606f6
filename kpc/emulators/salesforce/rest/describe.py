"""What an object and its fields are, in the form of `describe`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kpc.emulators.salesforce.org.ids import make_id
from kpc.emulators.salesforce.org.schema import OrgSchema, SObject, SObjectField

_SOAP_TYPES = {
    "boolean": "xsd:boolean",
    "currency": "xsd:double",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "double": "xsd:double",
    "id": "tns:ID",
    "int": "xsd:int",
    "percent": "xsd:double",
    "reference": "tns:ID",
}


def describe_global(schema: OrgSchema, version: str) -> dict[str, object]:
    return {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": [summary(each, version) for each in schema]}


def summary(sobject: SObject, version: str) -> dict[str, object]:
    """The entry of an object in the list of all."""
    base = f"/services/data/v{version}/sobjects/{sobject.name}"
    return {
        "activateable": False,
        "associateEntityType": None,
        "associateParentEntity": None,
        "createable": sobject.createable,
        "custom": sobject.is_custom,
        "customSetting": False,
        "deepCloneable": False,
        "deletable": sobject.deletable,
        "deprecatedAndHidden": False,
        "feedEnabled": False,
        "hasSubtypes": False,
        "isInterface": False,
        "isSubtype": False,
        "keyPrefix": sobject.prefix,
        "label": sobject.label,
        "labelPlural": sobject.label,
        "layoutable": True,
        "mergeable": False,
        "mruEnabled": True,
        "name": sobject.name,
        "queryable": True,
        "replicateable": True,
        "retrieveable": True,
        "searchable": True,
        "triggerable": True,
        "undeletable": sobject.deletable,
        "updateable": sobject.updateable,
        "urls": {
            "sobject": base,
            "describe": f"{base}/describe",
            "rowTemplate": f"{base}/{{ID}}",
            "layouts": f"{base}/describe/layouts",
        },
    }


def describe(
    schema: OrgSchema, sobject: SObject, version: str, record_types: Sequence[dict[str, Any]] = ()
) -> dict[str, object]:
    """`record_types` as in the org's setup; every object has the one called Master besides."""
    children: list[dict[str, object]] = [
        {
            "cascadeDelete": reference.cascade_delete,
            "childSObject": child.name,
            "deprecatedAndHidden": False,
            "field": reference.name,
            "junctionIdListNames": [],
            "junctionReferenceTo": [],
            "relationshipName": reference.child_relationship or None,
            "restrictedDelete": reference.restricted_delete,
        }
        for child, reference in schema.children(sobject.name)
    ]
    more: dict[str, object] = {
        "actionOverrides": [],
        "childRelationships": children,
        "compactLayoutable": True,
        "defaultImplementation": None,
        "extendedBy": None,
        "extendsInterfaces": None,
        "fields": [_field(each) for each in sobject.fields],
        "implementedBy": None,
        "implementsInterfaces": None,
        "listviewable": None,
        "lookupLayoutable": None,
        "namedLayoutInfos": [],
        "networkScopeFieldName": None,
        "recordTypeInfos": _record_types(record_types),
        "searchLayoutable": True,
        "sobjectDescribeOption": "FULL",
        "supportedScopes": [],
    }
    return summary(sobject, version) | more


def _record_types(entries: Sequence[dict[str, Any]]) -> list[dict[str, object]]:
    default = next((each["name"] for each in entries if each.get("default")), "Master")
    own = [(each["name"], make_id("012", number), each["active"]) for number, each in enumerate(entries, 1)]
    return [
        {
            "active": active,
            "available": active,
            "defaultRecordTypeMapping": name == default,
            "developerName": name,
            "master": name == "Master",
            "name": name,
            "recordTypeId": record_type_id,
            "urls": {},
        }
        for name, record_type_id, active in [*own, ("Master", "012000000000000AAA", True)]
    ]


# What `describe` says of every field, because the emulator has nothing of the kind.
_SAME_FOR_ALL: dict[str, object] = {
    "aiPredictionField": False,
    "autoNumber": False,
    "calculated": False,
    "calculatedFormula": None,
    "compoundFieldName": None,
    "controllerName": None,
    "defaultValueFormula": None,
    "dependentPicklist": False,
    "deprecatedAndHidden": False,
    "displayLocationInDecimal": False,
    "extraTypeInfo": None,
    "filteredLookupInfo": None,
    "formulaTreatNullNumberAsZero": False,
    "highScaleNumber": False,
    "htmlFormatted": False,
    "inlineHelpText": None,
    "mask": None,
    "maskType": None,
    "namePointing": False,
    "polymorphicForeignKey": False,
    "queryByDistance": False,
    "referenceTargetField": None,
    "relationshipOrder": None,
    "searchPrefilterable": False,
    "writeRequiresMasterRead": False,
}


def _field(spec: SObjectField) -> dict[str, object]:
    facts = _SAME_FOR_ALL | _values(spec) | _behaviour(spec)
    return dict(sorted(facts.items()))


def _values(spec: SObjectField) -> dict[str, object]:
    """What the field can hold."""
    is_text = spec.is_text
    return {
        "byteLength": spec.length * 3 if is_text and spec.type not in ("id", "reference") else spec.length,
        "custom": spec.is_custom,
        "defaultValue": False if spec.type == "boolean" else None,
        "digits": 9 if spec.type == "int" else 0,
        "label": spec.name.removesuffix("__c").replace("_", " "),
        "length": spec.length if is_text else 0,
        "name": spec.name,
        "picklistValues": [
            {"active": True, "defaultValue": False, "label": each, "validFor": None, "value": each}
            for each in spec.picklist
        ],
        "precision": spec.precision,
        "referenceTo": [spec.reference_to] if spec.reference_to else [],
        "relationshipName": spec.relationship,
        "restrictedPicklist": spec.restricted,
        "scale": spec.scale,
        "soapType": _SOAP_TYPES.get(spec.type, "xsd:string"),
        "type": spec.type,
    }


def _behaviour(spec: SObjectField) -> dict[str, object]:
    """What can be done with the field."""
    return {
        "aggregatable": spec.type not in ("boolean", "textarea"),
        "cascadeDelete": spec.cascade_delete,
        "caseSensitive": spec.case_sensitive,
        "createable": spec.createable,
        "defaultedOnCreate": spec.defaulted,
        "encrypted": spec.encrypted,
        "externalId": spec.external_id,
        "filterable": spec.type != "textarea" and not spec.encrypted,
        "groupable": spec.type not in ("textarea", "double", "currency", "percent", "datetime"),
        "idLookup": spec.id_lookup,
        "nameField": spec.name_field,
        "nillable": spec.nillable,
        "restrictedDelete": spec.restricted_delete,
        "permissionable": spec.is_custom and not spec.is_required,
        "sortable": spec.type != "textarea" and not spec.encrypted,
        "unique": spec.unique,
        "updateable": spec.updateable,
    }
