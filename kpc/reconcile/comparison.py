"""One compared number, exact: the source's value, the part explained by listed exceptions, the target's value."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation

# The default context rounds to 28 digits, and a sum of Oracle NUMBERs has more: two sums that differ by a satang could
# compare as equal, or equal sums as different. Here a difference that would need rounding is an error instead.
EXACT = Context(prec=200, traps=[Inexact, InvalidOperation])


@dataclass(frozen=True, slots=True)
class Comparison:
    """Level 1 compares rows, level 2 aggregates of a measure, level 3 checksums of records.

    `source` is Oracle's own value at the generation's SCN, `excepted` the part of it that the listed rejected and
    failed rows account for, `target` Salesforce's value. None is SQL NULL (an aggregate over no rows).
    """

    level: int
    measure: str  # "rows", "AMT_INC_VAT sum", "AMT_INC_VAT average", "records with equal checksum" ...
    source: Decimal | None
    target: Decimal | None
    excepted: Decimal = Decimal(0)
    tolerance: Decimal = Decimal(0)

    @property
    def expected(self) -> Decimal | None:
        return None if self.source is None else EXACT.subtract(self.source, self.excepted)

    @property
    def difference(self) -> Decimal | None:
        """Target minus expected; None if only one side has a value."""
        if self.expected is None or self.target is None:
            return None
        return EXACT.subtract(self.target, self.expected)

    @property
    def agrees(self) -> bool:
        difference = self.difference
        if difference is None:
            return self.expected is self.target
        return difference.copy_abs() <= self.tolerance
