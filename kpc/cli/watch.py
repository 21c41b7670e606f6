"""`kpc status --watch`: the campaign in a terminal, or as lines where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from kpc.campaign.estimate import estimate_finish
from kpc.campaign.overview import ShownState, campaign_overview
from kpc.cli.arguments import user_workspace
from kpc.cli.output import Exit, print_json, say
from kpc.errors import ConfigError, Transient
from kpc.ledger import FailureReport
from kpc.stages.names import STAGES
from kpc.untrusted_text import printable

_OPEN = (
    *(ShownState.PLANNED, ShownState.QUEUED, ShownState.RUNNING, ShownState.WAITING, ShownState.INTERRUPTED),
    ShownState.DONE,
)
_WRONG = (ShownState.FAILED, ShownState.MISMATCH, ShownState.STOPPED, ShownState.SAMPLED, ShownState.ROLLED_BACK)
_REPORTED_WITHIN = timedelta(minutes=2)  # after a failure: Airflow's word whether it will try again
_RETRIED_WITHIN = timedelta(
    hours=1
)  # no wait between two tries is longer (dags/retrying.py); a run ended by hand has none
_STYLES = {
    ShownState.RECONCILED: "green",
    ShownState.RECONCILED_WITH_EXCEPTIONS: "yellow",
    ShownState.RUNNING: "cyan",
    **dict.fromkeys(_WRONG, "bold red"),
}
_ENDED_STAGES = (ShownState.DONE, ShownState.RECONCILED, ShownState.RECONCILED_WITH_EXCEPTIONS)

Document = dict[str, Any]
Show = Callable[[Document], None]


def watch_campaign(interval_s: float, *, as_json: bool) -> Exit:
    """Show the campaign every `interval_s` seconds until everything in scope has ended.

    A ledger that does not answer is asked again. Raises `ConfigError` if nothing is planned.
    """
    with user_workspace() as workspace, _shown(as_json=as_json) as show:
        environment, salesforce = workspace.environment, workspace.settings.salesforce
        while True:
            try:
                estimate = estimate_finish(workspace.ledger, environment, salesforce)
                document = campaign_overview(workspace.ledger, environment, salesforce, estimate=estimate)
                reports = workspace.ledger.alerts.reports(environment)
            except Transient as error:
                say(str(error))
            else:
                if not document["cells"]:
                    raise ConfigError(
                        "Nothing is planned.", "Plan it first, for example `kpc plan --months 2024-01:3`."
                    )
                show(document)
                if has_ended(document, reports):
                    return _verdict(document)
            time.sleep(interval_s)


def has_ended(document: Document, reports: Sequence[FailureReport] = ()) -> bool:
    """Whether nothing will happen any more unless somebody starts it.

    `reports` are those of tries that failed in Airflow, which may announce another try.
    """
    retried = {(one.table_name, one.partition_key): one.reported_utc for one in reports if not one.is_final}
    now = document["now_utc"]
    return all(_is_over(cell, now, retried.get((cell["table"], cell["key"]))) for cell in document["cells"])


def _is_over(cell: Mapping[str, Any], now: datetime, announced_utc: datetime | None) -> bool:
    if cell["state"] != ShownState.FAILED:
        return cell["state"] not in _OPEN
    failed_utc = max((stage["finished_utc"] for stage in cell["stages"] if stage.get("finished_utc")), default=None)
    if failed_utc is None:
        return True
    is_retried = announced_utc is not None and announced_utc >= failed_utc and now - announced_utc < _RETRIED_WITHIN
    return not is_retried and now - failed_utc > _REPORTED_WITHIN


def _verdict(document: Document) -> Exit:
    states = document["totals"]["by_state"]
    if any(state in states for state in _WRONG):
        return Exit.FAILED
    return Exit.EXCEPTIONS if ShownState.RECONCILED_WITH_EXCEPTIONS in states else Exit.DONE


@contextmanager
def _shown(*, as_json: bool) -> Iterator[Show]:
    if as_json:
        yield _print_line
    elif sys.stdout is not None and sys.stdout.isatty():
        with Live(console=Console(highlight=False), auto_refresh=False, vertical_overflow="crop") as live:
            yield lambda document: live.update(campaign_screen(document), refresh=True)
    else:
        yield ChangeLines().show


def _print_line(document: Document) -> None:
    print_json(document)
    sys.stdout.flush()


class ChangeLines:
    """A line for each partition whose state or stage changed since the last look."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], str] = {}

    def show(self, document: Document) -> None:
        for cell in document["cells"]:
            name, text = (cell["table"], cell["key"]), _described(cell)
            if self._seen.get(name) != text and (name in self._seen or cell["state"] is not ShownState.PLANNED):
                print(f"{document['now_utc']:%H:%M:%S} {cell['table']} {cell['key']}: {printable(text)}", flush=True)
            self._seen[name] = text


def _described(cell: Mapping[str, Any]) -> str:
    """The state, and the last stage that was begun; without figures that change with every look."""
    begun = [name for name, stage in zip(STAGES, cell["stages"], strict=True) if stage["state"] != ShownState.PLANNED]
    return f"{cell['state'].replace('_', ' ')}{f' ({begun[-1]})' if begun else ''}"


def campaign_screen(document: Document) -> Group:
    """A table of the 16 tables, and lines for totals, quota, pauses and the estimate."""
    made = Grid(header_style="bold", box=None, padding=(0, 2, 0, 0))
    made.add_column("table", no_wrap=True)
    for name in (*STAGES, "records"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("now", overflow="ellipsis", no_wrap=True)
    for table in document["tables"]:
        cells = [cell for cell in document["cells"] if cell["table"] == table["table"]]
        ended = (sum(cell["stages"][at]["state"] in _ENDED_STAGES for cell in cells) for at in range(len(STAGES)))
        records = sum(cell.get("rows") or 0 for cell in cells)
        figures = (f"{count}/{len(cells)}" for count in ended)
        made.add_row(table["table"], *figures, f"{records:,}", _states(cells))
    return Group(made, *(Text(line, overflow="ellipsis", no_wrap=True) for line in _lines(document)))


def _states(cells: list[dict[str, Any]]) -> Text:
    text = Text()
    for state in ShownState:
        if count := sum(cell["state"] == state for cell in cells):
            text.append(f"{count} {state.replace('_', ' ')}  ", _STYLES.get(state, ""))
    return text


def _lines(document: Document) -> Iterator[str]:
    totals, quota = document["totals"], document["quota"]
    rows = quota["rows"]
    yield ""
    yield (
        f"{document['now_utc']:%H:%M:%S} UTC  {totals['arrived']:,} records loaded, "
        f"{totals['rows_per_s']:,.0f} records/s, {quota['jobs_in_flight']} of {quota['jobs_at_once']} jobs in flight"
    )
    yield f"Quota of 24 h: {rows['used']:,} of {rows['allowed']:,} records used, {rows['free']:,} free"
    if failures := totals["failures"]:
        yield f"Refused rows: {', '.join(f'{name} {count:,}' for name, count in failures.items())}"
    for pause in document["pauses"]:
        yield printable(f"Paused: {pause['kind']} {pause['name']}, by {pause['actor']}")
    if document["estimate"] is not None:
        yield document["estimate"]["summary"]
