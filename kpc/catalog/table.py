"""A table of the catalog: a declaration that is checked on construction."""

from __future__ import annotations

from dataclasses import dataclass

from kpc.catalog.checks import check_table
from kpc.catalog.declaration import TableDeclaration


@dataclass(frozen=True, eq=False)  # also here: a dataclass calls only the __post_init__ that it saw when it was made
class Table(TableDeclaration):
    """One Oracle table, the Salesforce object it becomes, and how it is moved.

    Raises `CatalogError` naming table, column and remedy for a declaration that contradicts itself.
    """

    def __post_init__(self) -> None:
        check_table(self)
