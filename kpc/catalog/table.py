"""A table of the catalog: its declaration, checked when it is made."""

from __future__ import annotations

from kpc.catalog.checks import check_table
from kpc.catalog.declaration import TableDeclaration


class Table(TableDeclaration):
    """One Oracle table, the Salesforce object it becomes, and how it travels.

    Raises `CatalogError` naming table, column and remedy for a declaration that contradicts itself.
    """

    def __post_init__(self) -> None:
        check_table(self)
