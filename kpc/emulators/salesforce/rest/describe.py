"""What an object and its fields are, in the form of `describe`."""

from __future__ import annotations

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
    may = sobject.createable
    return {
        "activateable": False,
        "associateEntityType": None,
        "associateParentEntity": None,
        "createable": may,
        "custom": sobject.is_custom,
        "customSetting": False,
        "deepCloneable": False,
        "deletable": may,
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
        "undeletable": may,
        "updateable": may,
        "urls": {
            "sobject": base,
            "describe": f"{base}/describe",
            "rowTemplate": f"{base}/{{ID}}",
            "layouts": f"{base}/describe/layouts",
        },
    }


def describe(schema: OrgSchema, sobject: SObject, version: str) -> dict[str, object]:
    children: list[dict[str, object]] = [
        {
            "cascadeDelete": False,
            "childSObject": child.name,
            "deprecatedAndHidden": False,
            "field": reference.name,
            "junctionIdListNames": [],
            "junctionReferenceTo": [],
            "relationshipName": reference.child_relationship or None,
            "restrictedDelete": False,
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
        "recordTypeInfos": [],
        "searchLayoutable": True,
        "sobjectDescribeOption": "FULL",
        "supportedScopes": [],
    }
    return summary(sobject, version) | more


def _field(spec: SObjectField) -> dict[str, object]:
    is_text = spec.is_text
    return {
        "aggregatable": spec.type not in ("boolean", "textarea"),
        "aiPredictionField": False,
        "autoNumber": False,
        "byteLength": spec.length * 3 if is_text and spec.type not in ("id", "reference") else spec.length,
        "calculated": False,
        "calculatedFormula": None,
        "cascadeDelete": False,
        "caseSensitive": spec.case_sensitive,
        "compoundFieldName": None,
        "controllerName": None,
        "createable": spec.createable,
        "custom": spec.is_custom,
        "defaultValue": False if spec.type == "boolean" else None,
        "defaultValueFormula": None,
        "defaultedOnCreate": spec.defaulted,
        "dependentPicklist": False,
        "deprecatedAndHidden": False,
        "digits": 9 if spec.type == "int" else 0,
        "displayLocationInDecimal": False,
        "encrypted": False,
        "externalId": spec.external_id,
        "extraTypeInfo": None,
        "filterable": spec.type != "textarea",
        "filteredLookupInfo": None,
        "formulaTreatNullNumberAsZero": False,
        "groupable": spec.type not in ("textarea", "double", "currency", "percent", "datetime"),
        "highScaleNumber": False,
        "htmlFormatted": False,
        "idLookup": spec.id_lookup,
        "inlineHelpText": None,
        "label": spec.name.removesuffix("__c").replace("_", " "),
        "length": spec.length if is_text else 0,
        "mask": None,
        "maskType": None,
        "name": spec.name,
        "nameField": spec.name_field,
        "namePointing": False,
        "nillable": spec.nillable,
        "permissionable": spec.is_custom and not spec.is_required,
        "picklistValues": [
            {"active": True, "defaultValue": False, "label": each, "validFor": None, "value": each}
            for each in spec.picklist
        ],
        "polymorphicForeignKey": False,
        "precision": spec.precision,
        "queryByDistance": False,
        "referenceTargetField": None,
        "referenceTo": [spec.reference_to] if spec.reference_to else [],
        "relationshipName": spec.relationship,
        "relationshipOrder": None,
        "restrictedDelete": False,
        "restrictedPicklist": spec.restricted,
        "scale": spec.scale,
        "searchPrefilterable": False,
        "soapType": _SOAP_TYPES.get(spec.type, "xsd:string"),
        "sortable": spec.type != "textarea",
        "type": spec.type,
        "unique": spec.unique,
        "updateable": spec.updateable,
        "writeRequiresMasterRead": False,
    }
