"""Parents and children of a partition whose current extract has a different SCN: such a case is always reported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from kpc.catalog import TABLES, children
from kpc.partition import Partition
from kpc.storage.manifests import RelativeScn

if TYPE_CHECKING:
    from kpc.catalog import Table
    from kpc.ledger import GenerationRow
    from kpc.stages.context import PartitionContext


def relatives_of(context: PartitionContext, scn: int) -> tuple[RelativeScn, ...]:
    """The parents and children with the same key that were extracted at a different SCN from `scn`."""
    current = context.ledger.generations.current
    found = []
    for relation, table in _relations(context.table):
        generation = current(context.environment, Partition(table, context.key))
        if generation is not None and generation.scn != scn:
            found.append(RelativeScn(relation=relation, table=table.name, scn=generation.scn))
    return tuple(found)


def parents_at_other_scns(extracts: Sequence[GenerationRow]) -> Iterator[tuple[GenerationRow, RelativeScn]]:
    """Each of these current extracts whose parent with the same key has a different SCN, with that parent."""
    scns = {(one.table_name, one.partition_key): one.scn for one in extracts}
    for one in extracts:
        table = TABLES.get(one.table_name)
        for relation, parent in _relations(table) if table else ():
            scn = scns.get((parent.name, one.partition_key), one.scn)
            if relation == "parent" and scn != one.scn:
                yield one, RelativeScn(relation=relation, table=parent.name, scn=scn)


def _relations(table: Table) -> Iterator[tuple[Literal["parent", "child"], Table]]:
    """The direct parents and children that are partitioned alike, each once."""
    for name in dict.fromkeys(lookup.parent for lookup in table.lookups):
        if TABLES[name].is_monthly == table.is_monthly:
            yield "parent", TABLES[name]
    for child in children(table.name):
        if child.is_monthly == table.is_monthly:
            yield "child", child
