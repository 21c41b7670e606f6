"""A table of the catalog: a declaration that is checked on construction."""

from __future__ import annotations

from kpc.catalog.checks import check_table
from kpc.catalog.declaration import TableDeclaration


class Table(TableDeclaration):
    """One Oracle table, its Salesforce object, and how it is migrated.

    Raises `CatalogError` naming table, column and remedy for a declaration that contradicts itself.
    """

    def __post_init__(self) -> None:
        check_table(self)
