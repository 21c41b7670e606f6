"""A request for sign-off as Markdown: numbers, hashes and links, but no keys or values of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kpc.campaign.sign_off_figures import Figures
from kpc.campaign.sign_off_request import SignOffRequest

_NUMBER = "--:"
_TEXT = "---"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a piece of evidence is stored: its name, and its address or path."""

    name: str
    place: str
    sha256: str = ""


def request_text(request: SignOffRequest, evidence: Sequence[Evidence]) -> str:
    """The body of a request."""
    return "\n\n".join(part for part in _parts(request, evidence) if part)


def _parts(request: SignOffRequest, evidence: Sequence[Evidence]) -> Iterator[str]:
    total = Figures.total(one.figures for one in request.tables)
    yield _summary(request, total)
    yield _totals(request, total)
    yield _coverage(total)
    yield _exceptions(request)
    yield _former(request)
    yield _evidence(request, evidence)
    yield _meaning(request)


def _summary(request: SignOffRequest, total: Figures) -> str:
    scope, environment = request.scope, request.environment
    first, last = min(scope.months, default=""), max(scope.months, default="")
    months = f", {first} to {last}" if first != last else f", {first}" if first else ""
    excepted = request.found.with_exceptions
    kinds = f"; {excepted:,} of them with listed exceptions" if excepted else ", none with an exception"
    return (
        f"**All {total.partitions:,} partitions of {request.title} are reconciled{kinds}.** KPC TMS's sales history, "
        f"from Oracle database `{environment.source_id}` to Salesforce org `{environment.target_id}`{months}."
    )


def _totals(request: SignOffRequest, total: Figures) -> str:
    names = (
        "Table",
        "Partitions",
        "Rows in Oracle",
        "Records in Salesforce",
        "Exceptions",
        "Compared",
        "Second opinion",
    )
    rows = [_row(one.table.name, one.figures) for one in request.tables]
    return _table(names, (_TEXT, *[_NUMBER] * 6), [*rows, tuple(f"**{cell}**" for cell in _row("All", total))])


def _row(name: str, one: Figures) -> tuple[str, ...]:
    numbers = (one.partitions, one.source_rows, one.target_rows, one.exceptions, one.compared, one.opinions)
    return (name, *(f"{number:,}" for number in numbers))


def _coverage(total: Figures) -> str:
    share = f"{total.opinions / total.compared:.1%}" if total.compared else "none"
    purged = (
        f" {total.purged:,} partitions have a purged extract: these were compared by key hashes and row checksums."
        if total.purged
        else ""
    )
    return (
        f"### Coverage\n\nFull: each of the {total.compared:,} records in Salesforce was read back and compared with "
        f"its row (**Compared**); no partition rests on a sample. For {total.opinions:,} of them, {share}, Oracle "
        "itself computed what Salesforce must hold, by rules that share no code with conversion (**Second opinion**)."
        f"{purged}"
    )


def _exceptions(request: SignOffRequest) -> str:
    causes = [(one.table.name, code, rows) for one in request.tables for code, rows in sorted(one.causes.items())]
    unassigned = [(one.table.name, cause, n) for one in request.tables for cause, n in sorted(one.unassigned.items())]
    repaired = sum(one.figures.repaired for one in request.tables)
    text = "### Exceptions\n\n"
    if not causes:
        text += "None: every row of these partitions is in Salesforce."
    else:
        text += "Rows that Salesforce does not hold as Oracle does; `kpc failed TABLE` lists them by key.\n\n" + _table(
            ("Table", "Reason", "Rows"), (_TEXT, _TEXT, _NUMBER), [(t, f"`{c}`", f"{n:,}") for t, c, n in causes]
        )
    if repaired:
        text += f"\n\n{repaired:,} rows hold values that people corrected; each correction is in the audit log."
    if unassigned:
        text += "\n\nRows in Oracle that belong to no month and are not migrated:\n\n" + _table(
            ("Table", "Cause", "Rows"), (_TEXT, _TEXT, _NUMBER), [(t, c, f"{n:,}") for t, c, n in unassigned]
        )
    return text


def _former(request: SignOffRequest) -> str:
    decisions = [one.sign_off for one in request.former]
    lines = [
        f"- Sign-off {one.id}: {one.subject} {one.decision} by {_plain(one.actor)} on {one.signed_utc:%Y-%m-%d %H:%M} "
        f"UTC ({_plain(one.identified or 'not recorded how identified')})"
        for one in [*decisions, *request.signed.made]
    ]
    return "### Earlier decisions\n\n" + "\n".join(lines) if lines else ""


def _evidence(request: SignOffRequest, evidence: Sequence[Evidence]) -> str:
    count = f"{request.certificates:,} certificates, one for each partition; sha256 of the sorted list of theirs"
    lines = [f"- **{count}:** `{request.certificates_sha256}`", *map(_line, evidence)]
    return "### Evidence\n\n" + "\n".join(lines)


def _line(one: Evidence) -> str:
    return f"- **{one.name}:** {_linked(one.place)}" + (f", sha256 `{one.sha256}`" if one.sha256 else "")


def _meaning(request: SignOffRequest) -> str:
    so_far = "one of them has already" if request.signed.made else "you would be the first"
    eyes = f" Two different people must approve; {so_far}." if request.signed.needed > 1 else ""
    return (
        "### What your answer does\n\n"
        "**Approve** records, under your log-in name, that you accept exactly these certificates; "
        f"**Reject** records that you do not. Say why in the note: it is kept, so name no customer in it.{eyes} When a "
        "certificate changes, this request closes by itself, and a sign-off already given expires."
    )


def _linked(place: str) -> str:
    return f"[{place.rsplit('/', 1)[-1]}]({place})" if place.startswith(("http://", "https://")) else f"`{place}`"


def _plain(text: str) -> str:
    """A name chosen by people, without characters that Markdown would read as markup."""
    return "".join(char if char.isalnum() or char in " .,@+-" else f"&#{ord(char)};" for char in text)


def _table(names: Iterable[str], kinds: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, kinds, *rows))
