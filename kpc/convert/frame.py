"""Convert an extracted frame to the target's rows as text, and mark each row that breaks a rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import ALL, CURRENCY_FIELD, EXTERNAL_ID, KEY_SEPARATOR
from kpc.convert import dates, numbers, text
from kpc.convert.external_id import external_id, key_checks, lookup_checks, shown_key
from kpc.convert.rules import Rule, RuleCheck, first_violated
from kpc.convert.source import Source
from kpc.convert.values import Conversion, conversion
from kpc.errors import SchemaDrift

RULE, FIELD, VALUE, KEY = "__rule", "__field", "__value", "__key"
_POSITION = "__position"
_BETWEEN = "\x00"  # sorts before every character a key can hold


def convert_frame(frame: pl.DataFrame | pl.LazyFrame, table: Table, *, key: str, hash_key: str) -> pl.LazyFrame:
    """Extracted rows as Salesforce will hold them, in the same order.

    Columns: `table.data_header`, all String (null: NULL); `__rule`, `__field`, `__value`, the first rule the row breaks
    (null: none; `__value` masked where personal); `__key`, the source key for the reject file. Values of a row with a
    rule are not meaningful. Duplicates are not detected here: that takes the partition (`kpc.staging.duplicate_keys`).

    Raises `SchemaDrift` if a declared column was not extracted, `ConfigError` if a hash key is needed and empty.
    """
    rows = frame.lazy()
    plan = FramePlan.of(table, dict(rows.collect_schema()), key=key, hash_key=hash_key)
    return (
        plan.typed(rows)
        .with_columns(plan.first_broken().alias(_POSITION))
        .with_columns(*plan.spelled(), plan.shown_value().alias(VALUE))
        .select(
            *table.data_header,
            _named([check.rule for check in plan.checks]).alias(RULE),
            _named([check.field for check in plan.checks]).alias(FIELD),
            VALUE,
            plan.source_key().alias(KEY),
        )
    )


def _unreadable(sources: Mapping[str, Source]) -> Iterator[RuleCheck]:
    """What the extract could not read rejects its row, also where it is only a key part.

    That is text that could not be decoded, and a number that the extract could not hold (also one that becomes a text).
    """
    for source in sources.values():
        if source.column.source.is_text and not source.is_plain and source.dtype == pl.String:
            field = source.column.field or source.name
            yield RuleCheck(Rule.TEXT_UNDECODABLE, field, source.name, text.is_undecodable(source.raw))
        target = source.column.type
        if source.is_number and isinstance(source.dtype, pl.Decimal) and not (target and target.is_number):
            field = source.column.field or source.name
            is_unreadable = numbers.is_out_of_reach(source.clean, source.scale)
            yield RuleCheck(Rule.NUMBER_OUT_OF_RANGE, field, source.name, is_unreadable)


def _named(names: Sequence[str]) -> pl.Expr:
    """The name at the row's position among the checks."""
    return pl.col(_POSITION).replace_strict(
        list(range(len(names))), [str(name) for name in names], default=None, return_dtype=pl.String
    )


@dataclass(frozen=True)
class FramePlan:
    """The passes over one table's frames, and the checks in reporting order."""

    table: Table
    sources: dict[str, Source]
    conversions: tuple[Conversion, ...]
    checks: tuple[RuleCheck, ...]

    @classmethod
    def of(
        cls,
        table: Table,
        schema: dict[str, pl.DataType],
        *,
        key: str,
        hash_key: str,
        plain: frozenset[str] = frozenset(),
    ) -> FramePlan:
        """The plan for frames of this schema; `plain` is the result of `plain_columns`. Raises as `convert_frame`.

        Checks that a plain column always passes are omitted: such a plan finds all broken rows, but only a plan without
        plain columns finds the first rule that each of them breaks.
        """
        sources = _sources(table, schema, plain)
        conversions = tuple(conversion(sources[column.name], hash_key) for column in table.sent_columns)
        checks = [*_unreadable(sources), *(check for made in conversions for check in made.checks)]
        checks += key_checks(table, sources)
        for lookup in table.lookups:
            checks += lookup_checks(lookup, sources)
        checks += _partition_check(table, sources, key)
        return cls(table, sources, conversions, tuple(checks))

    def typed(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Add the external id, the references to parents and every `NAME:value`: the input of the checks and of
        `spelled`."""
        used = self.sources.values()
        identifiers = [external_id(self._of(self.table.key)).alias(EXTERNAL_ID)]
        identifiers += [external_id(self._of(lookup.columns)).alias(lookup.header) for lookup in self.table.lookups]
        return (
            rows.with_columns(expression for source in used for expression in source.part_pass())
            .with_columns(source.clean_pass() for source in used)
            .with_columns(expression for source in used for expression in source.local_pass())
            .with_columns(*identifiers, *(made.value for made in self.conversions))
        )

    def is_broken(self) -> pl.Expr:
        """True for the rows that break a rule; far cheaper than finding which rule."""
        return pl.any_horizontal([check.violated for check in self.checks]).fill_null(value=False)

    def first_broken(self) -> pl.Expr:
        """The position of the first check that a row fails; null if it passes all of them."""
        return first_violated(self.checks)

    def spelled(self) -> list[pl.Expr]:
        """The sent fields as text, by their names in the data header; last the declared currency."""
        currency = [pl.lit(self.table.currency).alias(CURRENCY_FIELD)] if self.table.currency else []
        return [made.spelled for made in self.conversions] + currency

    def doubles(self, prefix: str) -> list[pl.Expr]:
        """The sent numbers as doubles, by their names in the data header after `prefix`."""
        return [made.double.name.prefix(prefix) for made in self.conversions if made.double is not None]

    def order(self) -> pl.Expr:
        """The sort key of the rows: the first parent's external id, then their own (only the rest of it if it begins
        with the parent's)."""
        if not self.table.lookups:
            return pl.col(EXTERNAL_ID)
        lookup, key = self.table.lookups[0], self.table.key
        own = pl.col(EXTERNAL_ID)
        if key[: len(lookup.columns)] == lookup.columns:
            rest = [source.as_key_part() for source in self._of(key[len(lookup.columns) :])]
            own = pl.concat_str(rest, separator=KEY_SEPARATOR) if rest else pl.lit("")
        return pl.concat_str(pl.col(lookup.header).fill_null(""), own, separator=_BETWEEN)

    def cut_values(self) -> pl.Expr:
        """How many values of a row were cut to their field's length."""
        return _count([made.cut for made in self.conversions])

    def rounded_values(self) -> pl.Expr:
        """How many values of a row lost digits to their field's scale."""
        return _count([made.rounded for made in self.conversions])

    def source_key(self) -> pl.Expr:
        return shown_key(self._of(self.table.key))

    def shown_value(self) -> pl.Expr:
        """What the reject file shows for the check at `__position`."""
        shown = [
            self.source_key() if check.column is None else self.sources[check.column].shown() for check in self.checks
        ]
        return pl.coalesce([pl.when(pl.col(_POSITION) == position).then(value) for position, value in enumerate(shown)])

    def _of(self, names: Sequence[str]) -> list[Source]:
        return [self.sources[name] for name in names]


def plain_columns(frame: pl.DataFrame, table: Table) -> frozenset[str]:
    """The text columns of a frame in which no value has an unusual character."""
    texts = [
        text.has_unusual_character(pl.col(column.name)).any().alias(column.name)
        for column in table.columns
        if column.source.is_text and frame.schema.get(column.name) == pl.String
    ]
    if not texts:
        return frozenset()
    (has_unusual,) = frame.select(texts).to_dicts()
    return frozenset(name for name, found in has_unusual.items() if not found)


def _sources(table: Table, schema: dict[str, pl.DataType], plain: frozenset[str]) -> dict[str, Source]:
    keys = {*table.key, *(name for lookup in table.lookups for name in lookup.columns)}
    used = [column for column in table.columns if column.is_sent or column.name in keys]
    missing = tuple(column.name for column in used if column.name not in schema)
    if missing:
        raise SchemaDrift(
            f"The extract of {table.name} lacks {len(missing)} declared column(s):",
            f"Extract it again with the current catalog: `kpc run {table.name} --mode full`.",
            differences=missing,
        )
    return {column.name: Source(column, schema[column.name], column.name in plain) for column in used}


def _partition_check(table: Table, sources: dict[str, Source], key: str) -> list[RuleCheck]:
    """A row of another month does not belong to this partition: it would be loaded or counted twice."""
    if table.month_column is None or key == ALL:
        return []
    source = sources[table.month_column]
    elsewhere = dates.is_outside_month(source.local, key)
    return [RuleCheck(Rule.OUTSIDE_PARTITION, table.day_field or "", source.name, elsewhere)]


def _count(flags: Sequence[pl.Expr | None]) -> pl.Expr:
    """How many flags of a row are set; null counts as not set."""
    given = [flag.cast(pl.UInt16) for flag in flags if flag is not None]
    return pl.sum_horizontal(given) if given else pl.lit(0, dtype=pl.UInt16)
