"""What `/query?columns=true` answers: the columns of a query, which Salesforce's own command line needs."""

from __future__ import annotations

from kpc.emulators.salesforce.org.schema import NUMBER_TYPES
from kpc.emulators.salesforce.soql.compiled import Compiled, SoqlColumn


def column_metadata(compiled: Compiled) -> dict[str, object]:
    """Columns in the order of SELECT; fields of a parent and of children stand in the `joinColumns` of theirs."""
    return {
        "columnMetadata": _columns(compiled),
        "entityName": compiled.sobject.name,
        "groupBy": compiled.is_grouped,
        "idSelected": any(output.path == ("Id",) for output in compiled.outputs),
        "keyPrefix": compiled.sobject.prefix,
    }


def _columns(compiled: Compiled) -> list[dict[str, object]]:
    columns = _nested([(output.path, output) for output in compiled.outputs])
    for child in compiled.children:
        asked = [each for each in _columns(child.compiled) if each["columnName"] != child.hidden]
        columns.append(_column(child.name, child.name, None, is_aggregate=True, joined=asked))
    return columns


def _nested(outputs: list[tuple[tuple[str, ...], SoqlColumn]]) -> list[dict[str, object]]:
    """Outputs with what is left of their paths; those that begin with the same parent come together."""
    columns: list[dict[str, object]] = []
    parents: dict[str, list[tuple[tuple[str, ...], SoqlColumn]]] = {}
    for path, output in outputs:
        if len(path) == 1:
            is_computed = output.spec is None
            name = output.text if is_computed else path[0]
            columns.append(_column(path[0], name, output, is_aggregate=is_computed, joined=[]))
        elif path[0] in parents:
            parents[path[0]].append((path[1:], output))
        else:
            parents[path[0]] = [(path[1:], output)]
            columns.append(_column(path[0], path[0], None, is_aggregate=False, joined=[]))
    for column in columns:
        if inner := parents.get(str(column["columnName"])):
            column["joinColumns"] = _nested(inner)
    return columns


def _column(
    name: str, shown: str, output: SoqlColumn | None, *, is_aggregate: bool, joined: list[dict[str, object]]
) -> dict[str, object]:
    spec = output.spec if output else None
    kind = output.value.type if output else ""
    return {
        "aggregate": is_aggregate,
        "booleanType": kind == "boolean",
        "columnName": name,
        "custom": bool(spec and spec.is_custom),
        "displayName": shown,
        "foreignKeyName": None,
        "insertable": bool(spec and spec.createable),
        "joinColumns": joined,
        "numberType": kind in NUMBER_TYPES,
        "textType": kind in ("string", "textarea", "picklist", "email", "phone", "url"),
        "updatable": bool(spec and spec.updateable),
    }
