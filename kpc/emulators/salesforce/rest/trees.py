"""Records with their children nested in them: inserted level by level, all of them or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kpc.emulators.salesforce.errors import ApiError, RowRefusal, bad_json
from kpc.emulators.salesforce.org.org import Org
from kpc.emulators.salesforce.org.schema import OrgSchema, SObject, SObjectField
from kpc.emulators.salesforce.writing.records import Record, RolledBack, demand_all, save_within

_MOST_RECORDS, _MOST_LEVELS, _MOST_OBJECTS = 200, 5, 5


@dataclass(slots=True)
class Node:
    """One record; `link` is its field that names the parent, `id` is known once it is inserted."""

    sobject: SObject
    record: Record
    reference: str
    parent: Node | None = None
    link: SObjectField | None = None
    id: str | None = None
    error: RowRefusal | None = None


def read_tree(schema: OrgSchema, sobject: SObject, records: object) -> list[list[Node]]:
    """The nodes of a tree by level. 400 for an invalid or too large tree."""
    levels: list[list[Node]] = []
    level = [_node(sobject, each) for each in _listed(records)]
    while level:
        levels.append(level)
        if len(levels) > _MOST_LEVELS:
            raise _refused(f"a tree has at most {_MOST_LEVELS} levels")
        level = [child for node in level for child in _take_children(schema, node)]
    nodes = [node for level in levels for node in level]
    if not 0 < len(nodes) <= _MOST_RECORDS:
        raise _refused(f"a tree has from 1 to {_MOST_RECORDS} records")
    if len({node.sobject.name for node in nodes}) > _MOST_OBJECTS:
        raise _refused(f"a tree has records of at most {_MOST_OBJECTS} objects")
    if len({node.reference for node in nodes}) < len(nodes):
        raise _refused("each record needs a referenceId of its own")
    return levels


def insert_tree(org: Org, levels: Sequence[Sequence[Node]], user_id: str) -> None:
    """Insert all levels in one transaction, or nothing; the nodes then have their ids or errors."""
    try:
        with org.storage.writing() as session:
            for level in levels:
                records = [(node.sobject, _linked(node)) for node in level]
                results = save_within(org, session, "insert", records, user_id)
                for node, saved in zip(level, results, strict=True):
                    node.id, node.error = saved.id, saved.error
                demand_all(results)
    except RolledBack:
        pass  # the nodes say why


def _linked(node: Node) -> Record:
    """The record, with its parent's id where the parent is known by now."""
    return {**node.record, node.link.name: node.parent.id} if node.link and node.parent else node.record


def _take_children(schema: OrgSchema, node: Node) -> list[Node]:
    """The nodes below a node, taken out of its record."""
    taken: list[Node] = []
    for child, link in schema.children(node.sobject.name):
        name = next((each for each in node.record if each.lower() == link.child_relationship.lower()), None)
        if name and isinstance(below := node.record[name], dict):
            del node.record[name]
            taken += [_node(child, each, node, link) for each in _listed(below.get("records"))]
    return taken


def _node(sobject: SObject, record: Record, parent: Node | None = None, link: SObjectField | None = None) -> Node:
    attributes = record.get("attributes")
    kind, reference = "", None
    if isinstance(attributes, dict):
        kind, reference = str(attributes.get("type", "")), attributes.get("referenceId")
    if kind.lower() != sobject.name.lower() or not sobject.is_writable:
        raise ApiError(400, "INVALID_TYPE", f"sObject type '{kind}' is not supported here; {sobject.name} is")
    if not isinstance(reference, str) or not reference:
        raise _refused("each record needs a referenceId of its own")
    return Node(sobject, dict(record), reference, parent, link)


def _listed(records: object) -> list[Record]:
    if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
        raise bad_json("records must be a list of objects")
    return records


def _refused(why: str) -> ApiError:
    return ApiError(400, "INVALID_INPUT", f"Invalid tree: {why}")
