"""A measured number as the target will hold it, in Oracle's SQL: the same rules as `kpc.convert.numbers`.

It only builds text, which `kpc.oracle` runs. A test compares both implementations.
"""

from __future__ import annotations

from kpc.catalog.types import Column, NullRule
from kpc.errors import CatalogError


def target_value_sql(column: Column) -> str:
    """For example `ROUND(NVL("AMT_EXC_VAT",0),2)`, and NULL for a value that the field cannot hold.

    Oracle rounds a NUMBER half away from zero, as `kpc.convert` does. Raises `CatalogError` for a column that is not
    converted to a number.
    """
    if column.type is None or not column.type.is_number:
        raise CatalogError(
            f"Column {column.name} is not converted to a number, so it cannot be a measure.", "Measure a number column."
        )
    value = f'"{column.name}"'
    if column.null is NullRule.ZERO:
        value = f"NVL({value},0)"
    elif column.null is NullRule.DEFAULT:
        value = f"NVL({value},{column.default})"
    rounded = f"ROUND({value},{column.type.scale})"
    return f"CASE WHEN ABS({rounded}) < {10 ** (column.type.precision - column.type.scale)} THEN {rounded} END"
