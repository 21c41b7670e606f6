"""The command that compares extracts with Oracle as it is now: delta."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from kpc.catalog import find_table
from kpc.cli.arguments import AsJson, user_workspace
from kpc.cli.output import Exit, emit, explaining_errors, grid, say
from kpc.partition import parse_months

if TYPE_CHECKING:
    from rich.table import Table as Grid

    from kpc.campaign.source_delta import DayDelta, Moved, PartitionDelta, TableDelta

_DAYS_SHOWN = 31
_KEYS_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add this module's command to the application."""
    app.command()(delta)


@explaining_errors
def delta(
    tables: Annotated[str, typer.Option(help="Comma-separated tables; those in scope when empty.")] = "",
    months: Annotated[str, typer.Option(help="FIRST:COUNT; all that were extracted when empty.")] = "",
    scn: Annotated[int | None, typer.Option(help="The final SCN; Oracle's current one when not given.", min=1)] = None,
    keys: Annotated[
        bool, typer.Option("--keys", help="List new, changed and vanished keys of the months that changed.")
    ] = False,
    every_row: Annotated[
        bool, typer.Option("--every-row", help="Compare the rows of every month: finds changes that alter no total.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find what changed in Oracle since each partition was extracted; exit code 3 if anything changed."""
    from kpc.campaign.source_check import DeltaRequest, check_source

    named = tuple(find_table(name.strip()) for name in tables.split(",") if name.strip())
    wanted = parse_months(months) if months else ()
    request = DeltaRequest(named, wanted, scn, lists_keys=keys, compares_rows=every_row)
    with user_workspace() as workspace:
        found = check_source(workspace, request)
    moved = [one for table in found for one in table.moved]
    has_moved = any(table.has_moved for table in found)
    facts = {"ok": not has_moved, "scn": found[0].scn, "tables": [_table_facts(one) for one in found]}
    emit(facts, as_json=as_json, text=_summary(found))
    for one in moved:
        for line in _lines(one):
            say(line)
    for line in _remarks(found):
        say(line)
    raise typer.Exit(Exit.EXCEPTIONS if has_moved else Exit.DONE)


def _summary(found: Sequence[TableDelta]) -> Grid:
    columns = ("table", "rows", "compared", "moved", "not extracted", "without month")
    cells = [
        [
            one.table,
            one.rows,
            len(one.compared),
            len(one.moved),
            len(one.not_extracted),
            one.without_month.rows if one.without_month else 0,
        ]
        for one in found
    ]
    return grid(f"Oracle at SCN {found[0].scn} compared with the sealed extracts", columns, cells)


def _lines(one: PartitionDelta) -> Iterator[str]:
    """A partition that changed: its totals, then its days, then its keys."""
    yield f"{one.partition} changed since SCN {one.scn}: {_what(one.rows, one.numbers, one.newest)}"
    for day in one.days[:_DAYS_SHOWN]:
        yield f"  {day.day}: {_what(day.rows, day.numbers)}"
    if len(one.days) > _DAYS_SHOWN:
        yield f"  and {len(one.days) - _DAYS_SHOWN} more days; --json has all."
    if one.changed is not None:
        for kind, count in one.changed.counts.items():
            listed = getattr(one.changed, kind)[:_KEYS_SHOWN]
            more = f" and {count - len(listed):,} more" if count > len(listed) else ""
            yield f"  {count:,} {kind}{': ' + ', '.join(listed) if listed else ''}{more}"
        if one.changed.fields:
            yield f"  changed columns: {', '.join(f'{name} ({rows:,})' for name, rows in one.changed.fields.items())}"


def _what(rows: tuple[int, int], numbers: dict[str, Moved], newest: Moved | None = None) -> str:
    parts = [f"rows {rows[0]:,} -> {rows[1]:,}"] if rows[0] != rows[1] else []
    parts += [f"{name} {then} -> {now}" for name, (then, now) in numbers.items() if name.endswith("sum")]
    if not parts:
        parts = [f"{name} {then} -> {now}" for name, (then, now) in numbers.items()]
    if newest is not None:
        parts.append(f"newest change {newest[0]} -> {newest[1]}")
    return ", ".join(parts) or "rows differ, but no total does"


def _remarks(found: Sequence[TableDelta]) -> Iterator[str]:
    """What is not compared, and what to do about changes."""
    for table in found:
        for absent in table.not_extracted:
            scope = " and was never" if absent.is_in_scope else ", is not in the planned scope and was never"
            yield f"{absent.partition} has {absent.rows:,} rows in Oracle{scope} extracted."
        for later in table.later:
            yield f"{later} was extracted after this SCN; it was not compared."
        if table.without_month is not None and table.without_month.has_moved:
            yield (
                f"{table.table} has {table.without_month.rows:,} rows that belong to no month; these are not the ones "
                "that the plan counted. Count again with `kpc plan --months FIRST:COUNT`."
            )
    moved = [one.partition for table in found for one in table.moved]
    if moved:
        table_name, key = moved[0].table.name, moved[0].key
        yield (
            "What changed blocks the sign-off until it is run again (`kpc rerun "
            f"{table_name} {key}`, without Airflow `kpc run {table_name} {key}`) or accepted: "
            f"`kpc sign-off {table_name} {key} --note REASON`."
        )


def _table_facts(one: TableDelta) -> dict[str, object]:
    facts: dict[str, object] = {
        "table": one.table,
        "scn": one.scn,
        "rows": one.rows,
        "partitions": [_partition_facts(each) for each in one.compared],
        "not_extracted": [
            {"key": each.partition.key, "rows": each.rows, "in_scope": each.is_in_scope} for each in one.not_extracted
        ],
        "extracted_later": [each.key for each in one.later],
    }
    if one.without_month is not None:
        without = one.without_month
        facts["without_month"] = {"now": without.causes, "planned": without.planned, "moved": without.has_moved}
    return facts


def _partition_facts(one: PartitionDelta) -> dict[str, object]:
    facts: dict[str, object] = {
        "key": one.partition.key,
        "moved": one.has_moved,
        "generation": one.generation,
        "scn": one.scn,
        "rows": one.rows,
        "numbers": one.numbers,
        "days": [_day_facts(day) for day in one.days],
    }
    if one.newest is not None:
        facts["newest_change"] = one.newest
    if one.changed is not None:
        lists = {kind: getattr(one.changed, kind) for kind in one.changed.counts}
        facts["keys"] = {"counts": one.changed.counts, **lists, "fields": one.changed.fields}
    return facts


def _day_facts(day: DayDelta) -> dict[str, object]:
    return {"day": day.day, "rows": day.rows, "numbers": day.numbers}
