"""The tables of the migration, in load order."""

from __future__ import annotations

from kpc.catalog.pre_invoice import PRE_INVOICE
from kpc.catalog.reference import REFERENCE
from kpc.catalog.sales import SALES
from kpc.catalog.table import Table
from kpc.catalog.types import Phase, key_part_length
from kpc.errors import CatalogError, ConfigError

__all__ = ["TABLES", "Phase", "Table", "check_catalog", "children", "family", "find_table"]


def check_catalog(tables: tuple[Table, ...]) -> dict[str, Table]:
    """Check the rules between tables, and index the tables by name.

    Raises `CatalogError` for a parent that does not exist, stands later in the list (which also rules out a cycle) or
    belongs to a later phase, and for a lookup that cannot build its parent's key.
    """
    seen: dict[str, Table] = {}
    for table in tables:
        if table.name in seen:
            raise CatalogError(f"Table {table.name} is declared twice.", "Keep one declaration in kpc/catalog.")
        for lookup in table.lookups:
            parent = seen.get(lookup.parent)
            if parent is None:
                raise CatalogError(
                    f"Table {table.name}, column {lookup.columns[0]}: parent {lookup.parent} is not declared "
                    "before it.",
                    "Declare the parent earlier in kpc/catalog; parents load first and cycles cannot load at all.",
                )
            _check_lookup(table, lookup.columns, parent)
        seen[table.name] = table
    return seen


def _check_lookup(table: Table, columns: tuple[str, ...], parent: Table) -> None:
    if parent.phase.position > table.phase.position:
        raise CatalogError(
            f"Table {table.name}: its parent {parent.name} belongs to the later phase {parent.phase}.",
            f"Move {parent.name} to phase {table.phase} or earlier.",
        )
    if parent.is_monthly and not table.is_monthly:
        raise CatalogError(
            f"Table {table.name}: its parent {parent.name} is partitioned by month, but this table is one partition.",
            f"Split {table.name} by month too; otherwise it would have to wait for many parent partitions.",
        )
    lookup_columns = [table.by_name[name] for name in columns]
    for mine, theirs in zip(lookup_columns, parent.key_columns, strict=False):
        if key_part_length(mine) > key_part_length(theirs) and mine.source.is_text:
            raise CatalogError(
                f"Table {table.name}, column {mine.name}: {mine.source.ddl} is longer than the parent's "
                f"{parent.name}.{theirs.name} ({theirs.source.ddl}).",
                "A lookup holds the parent's key; declare both with the same type.",
            )
    if len(lookup_columns) != len(parent.key):
        raise CatalogError(
            f"Table {table.name}, column {columns[-1]}: a lookup of {len(lookup_columns)} columns cannot hold the "
            f"key of {parent.name}, which has {len(parent.key)}.",
            f"Name the columns that hold {', '.join(parent.key)}.",
        )


TABLES: dict[str, Table] = check_catalog((*REFERENCE, *PRE_INVOICE, *SALES))


def find_table(name: str) -> Table:
    """The table called `name`, ignoring case. Otherwise raises `ConfigError` with the closest names."""
    table = TABLES.get(name.upper())
    if table is None:
        import difflib  # noqa: PLC0415  needed only to help with a typing mistake

        near = difflib.get_close_matches(name.upper(), TABLES, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "`kpc status` lists the tables."
        raise ConfigError(f"There is no table {name!r} in the catalog.", hint)
    return table


def children(name: str) -> tuple[Table, ...]:
    """The tables with a lookup to table `name`, in load order."""
    return tuple(table for table in TABLES.values() if any(lookup.parent == name for lookup in table.lookups))


def family(table: Table) -> tuple[Table, ...]:
    """The tables that refer to each other, directly or not, and are partitioned alike, in load order; `table` is one.

    Their partitions with the same key belong together, such as headers, lines and payments of a month.
    """
    alike = [other for other in TABLES.values() if other.is_monthly == table.is_monthly]
    links = {(other.name, lookup.parent) for other in alike for lookup in other.lookups}
    names, before = {table.name}, 0
    while len(names) > before:
        before = len(names)
        names |= {name for link in links if names & set(link) for name in link}
    return tuple(other for other in alike if other.name in names)
