"""What a user may do: the system permissions, and the rights on objects and fields, of his profile."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

from kpc.emulators.errors import OptionError
from kpc.emulators.salesforce.org.schema import OrgSchema, SObject, SObjectField

OBJECT_RIGHTS = ("read", "create", "edit", "delete", "view_all", "modify_all")
FIELD_RIGHTS = ("edit", "read", "none")
_NAMED_IN_ERRORS = "api_enabled, view_all_data, modify_all_data, view_setup, bulk_api_hard_delete, objects, fields"


@dataclass(frozen=True, slots=True)
class Permissions:
    """A profile. Objects and fields that are not named have every right, of single records those of sharing.

    `objects`: of an object, each right of `OBJECT_RIGHTS` that differs from what the system permissions give.
    `fields`: by `OBJECT.FIELD`, "read" or "none".
    """

    api_enabled: bool = True
    view_all_data: bool = True
    modify_all_data: bool = True
    view_setup: bool = True
    bulk_api_hard_delete: bool = True
    objects: dict[str, dict[str, bool]] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)

    def may(self, sobject: SObject, right: str) -> bool:
        """Whether the user has one of `OBJECT_RIGHTS` on the object."""
        given = self.objects.get(sobject.name, {})
        if right == "modify_all":
            return given.get(right, self.modify_all_data)
        if right == "view_all":
            return given.get(right, self.view_all_data or self.may(sobject, "modify_all"))
        return given.get(right, True)

    def field_right(self, sobject: SObject, spec: SObjectField) -> str:
        return self.fields.get(f"{sobject.name}.{spec.name}", "edit")

    def changed(self, changes: dict[str, object], schema: OrgSchema) -> Permissions:
        """With these members in place of its own. Raises `OptionError` for one that is not known."""
        checked: dict[str, Any] = {}
        for name, value in changes.items():
            if name == "objects":
                checked[name] = _objects(value, schema)
            elif name == "fields":
                checked[name] = _fields(value, schema)
            elif name in asdict(self) and isinstance(value, bool):
                checked[name] = value
            else:
                raise OptionError(f"There is no permission {name}={value!r}.", f"There are {_NAMED_IN_ERRORS}.")
        return replace(self, **checked)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def _objects(value: Any, schema: OrgSchema) -> dict[str, dict[str, bool]]:
    found: dict[str, dict[str, bool]] = {}
    for name, rights in (value if isinstance(value, dict) else {"": value}).items():
        sobject = schema.find(name)
        is_right = isinstance(rights, dict) and set(rights) <= set(OBJECT_RIGHTS)
        if sobject is None or not is_right or not all(isinstance(each, bool) for each in rights.values()):
            what = f'{{"OBJECT": {{RIGHT: true or false}}}}, and the rights are {", ".join(OBJECT_RIGHTS)}'
            raise OptionError(f"objects cannot be {value!r}.", f"It is {what}.")
        found[sobject.name] = dict(rights)
    return found


def _fields(value: Any, schema: OrgSchema) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, right in (value if isinstance(value, dict) else {"": value}).items():
        sobject, spec = find_field(schema, name)
        if sobject is None or spec is None or right not in FIELD_RIGHTS:
            raise OptionError(f"fields cannot be {value!r}.", 'It is {"OBJECT.FIELD": "edit", "read" or "none"}.')
        found[f"{sobject.name}.{spec.name}"] = cast("str", right)
    return found


def find_field(schema: OrgSchema, name: str) -> tuple[SObject | None, SObjectField | None]:
    """The object and field of `OBJECT.FIELD`."""
    first, _, second = name.partition(".")
    sobject = schema.find(first)
    return sobject, sobject.find(second) if sobject else None
