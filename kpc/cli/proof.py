"""Commands that verify: preflight, reconcile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from kpc.cli.arguments import AsJson, TableName, user_workspace
from kpc.cli.output import Exit, emit, explaining_errors, fail, grid, say
from kpc.errors import ConfigError, KpcError, Mismatch
from kpc.partition import find_partition

if TYPE_CHECKING:
    from kpc.campaign.system_check import SystemCheck
    from kpc.partition import Partition
    from kpc.reconcile.report import ReconciliationReport
    from kpc.stages.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.command()(preflight)
    app.command()(reconcile)


@explaining_errors
def preflight(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Also write one made-up row per object, read it back and delete it.")
    ] = False,
    airflow: Annotated[
        bool, typer.Option("--airflow", help="Check from an Airflow worker, with Airflow's connections and network.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check both systems before a campaign: schemas, rights, access paths, limits, rules, a sample of the source."""
    from kpc.campaign.preflight import check_systems
    from kpc.campaign.system_check import CheckState, CheckSubject

    if airflow:
        _on_a_worker(dry_run=dry_run, as_json=as_json)
        return
    with ExitStack() as scope:
        try:
            workspace = scope.enter_context(user_workspace())
        except KpcError as error:
            checks = [CheckSubject("Ledger", "settings and ledger").failed("settings", error.what, error.remedy)]
        else:
            checks = check_systems(workspace, dry_run=dry_run)
            _keep(workspace, checks)
    counts = {state.value: sum(check.state is state for check in checks) for state in CheckState}
    _print(checks, counts, as_json=as_json)


def _on_a_worker(*, dry_run: bool, as_json: bool) -> None:
    """Run the checks in Airflow's preflight DAG; those that found nothing are only counted."""
    from kpc.airflow_client.dag_preflight import run_preflight
    from kpc.campaign.system_check import CheckState
    from kpc.settings import load_settings

    found = run_preflight(load_settings(), dry_run=dry_run, say=say)
    counts = {state.value: found.counts.get(state, 0) for state in CheckState}
    _print(found.findings, counts, as_json=as_json, page=found.page)


def _print(checks: Sequence[SystemCheck], counts: Mapping[str, int], *, as_json: bool, page: str = "") -> None:
    is_ok = not counts["failed"]
    title = f"Preflight: {', '.join(f'{number} {state}' for state, number in counts.items())}"
    text = grid(title, ("system", "subject", "check", "result", "what it means", "remedy"), _lines(checks))
    facts = {"ok": is_ok, "counts": counts, "checks": [_fact(check) for check in checks]}
    emit(facts | ({"page": page} if page else {}), as_json=as_json, text=text)
    raise typer.Exit(Exit.DONE if is_ok else Exit.FAILED)


def _keep(workspace: Workspace, checks: list[SystemCheck]) -> None:
    """Keep the checks for their Data Docs page. An unwritable folder is ignored: a failed check reports it already."""
    from expectations.preflight_page import keep_checks

    with suppress(OSError):
        keep_checks(workspace.settings.reconcile.docs_root, checks, workspace.clock())


def _fact(check: SystemCheck) -> dict[str, object]:
    return {
        "system": check.system,
        "subject": check.subject,
        "check": check.name,
        "result": check.state,
        "ok": check.is_ok,
        "message": f"{check.message} {check.remedy}".strip(),
        "meaning": check.message,
        "remedy": check.remedy,
    }


def _lines(checks: Sequence[SystemCheck]) -> list[list[str]]:
    """Failed checks first, then warnings; checks that found nothing are one line per kind."""
    from kpc.campaign.system_check import CheckState

    lines = []
    for state in (CheckState.FAILED, CheckState.WARNING):
        lines += [
            [each.system, each.subject, each.name, state.upper(), each.message, each.remedy]
            for each in checks
            if each.state is state
        ]
    kinds: dict[tuple[str, str], list[SystemCheck]] = {}
    for each in checks:
        if each.state is CheckState.OK:
            kinds.setdefault((each.system, each.name), []).append(each)
    for (system, name), found in kinds.items():
        subject, message = (found[0].subject, found[0].message) if len(found) == 1 else (f"{len(found)} of them", "")
        lines.append([system, subject, name, CheckState.OK, message, ""])
    return lines


@explaining_errors
def reconcile(
    table: TableName,
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="A month such as 2024-01, or ALL.")] = None,
    level: Annotated[
        int, typer.Option(min=1, max=3, help="1 and 2: counts and aggregates only; 3: every record, the default.")
    ] = 3,
    sample: Annotated[int | None, typer.Option(min=1, help="Compare this many records, chosen at random.")] = None,
    level3: Annotated[str, typer.Option(help="full, sample or off; default: KPC__RECONCILE__LEVEL3.")] = "",
    drill: Annotated[bool, typer.Option("--drill", help="Compare every record, whatever the setting.")] = False,
    second_opinion: Annotated[
        str,
        typer.Option(
            metavar="SHARE",
            help="Have Oracle itself compute, as of the extract's SCN, what Salesforce must hold: for `all` rows, or "
            "for this many of the 256 buckets. Compares every record.",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Compare a loaded partition with Salesforce: counts, aggregates, checksums; changes no record.

    Without KEY, count the table's whole object instead, and list the records that no partition accounts for.
    """
    if key is None:
        _reconcile_object(table, as_json=as_json)
        return
    from assets.reconciled import reconciled
    from kpc.ledger.states import StageState
    from kpc.reconcile.report import last_report
    from kpc.stages.context import PartitionContext

    partition = find_partition(table, key)
    chosen = _level3(level, sample, level3, drill=drill or bool(second_opinion))
    with user_workspace() as workspace:
        context = PartitionContext(workspace, partition)
        try:
            result = reconciled.materialize(context, level3=chosen, sample_rows=sample, second_opinion=second_opinion)
        except Mismatch as mismatch:
            report = last_report(context)
            emit(report.model_dump(mode="json"), as_json=as_json, text="\n".join(_differences(report)))
            fail(mismatch)
        report = last_report(context)
    _print_verdict(partition, report, weaker=str(result.detail.get("weaker_check", "")), as_json=as_json)
    raise typer.Exit(Exit.EXCEPTIONS if result.state == StageState.RECONCILED_WITH_EXCEPTIONS else Exit.DONE)


def _print_verdict(partition: Partition, report: ReconciliationReport, *, weaker: str, as_json: bool) -> None:
    columns = ("level", "measure", "oracle", "exceptions", "salesforce", "agrees")
    cells = [[n.level, n.measure, n.source, n.excepted, n.target, n.agrees] for n in report.comparisons]
    emit(report.model_dump(mode="json"), as_json=as_json, text=grid(f"{partition}: {report.state}", columns, cells))
    for line in _kept_lines(report):
        say(line)
    if report.second_opinion:
        say(f"Second opinion by Oracle: {report.second_opinion}.")
    if report.compared_only:
        say(f"Compared only by {report.compared_only}.")
    if weaker:
        when = f"{report.compared_utc:%Y-%m-%d %H:%M} UTC"
        say(f"The verdict of {when} remains, because more was compared then. This time: {weaker}.")
    elif report.state == "sampled":
        say(
            f"{report.share} records were compared; "
            f"`kpc reconcile {report.table} {report.key} --level3 full` compares all."
        )


def _level3(level: int, sample: int | None, level3: str, *, drill: bool) -> str:
    """The mode of level 3 that the options name. Raises `ConfigError` if they name several."""
    named = ["full"] * drill + ["off"] * (level < 3) + ["sample"] * (sample is not None) + [level3] * bool(level3)
    if len(set(named)) > 1:
        raise ConfigError(
            "--level, --sample, --level3, --drill and --second-opinion cannot be combined.",
            "Give only one of them, or none.",
        )
    return named[0] if named else ""


def _reconcile_object(name: str, *, as_json: bool) -> None:
    from kpc.catalog import find_table
    from kpc.reconcile.whole_object import check_object

    table = find_table(name)
    with user_workspace() as workspace:
        found = check_object(workspace, table)
    is_clean = found.is_accounted_for and not found.unknown
    facts = {name: getattr(found, name) for name in ("table_name", "records", "expected", "unknown", "detail")}
    title = (
        f"{table.target}: {found.records:,} records; {found.detail['partitions']} partitions account for "
        f"{found.expected:,}, {found.unknown:,} are of unknown origin"
    )
    columns = ("record", "external id", "marker", "created by", "created")
    text = grid(title, columns, [list(record.values()) for record in found.detail["first"]]) if found.unknown else title
    emit({"ok": is_clean, **facts}, as_json=as_json, text=text)
    if found.unknown:
        say(
            f"Remove them in Salesforce and repeat, or accept them with `kpc sign-off {table.name} FOREIGN --note "
            "REASON`; until then no phase with this table can be signed off."
        )
    if not found.is_accounted_for:
        say(
            f"The numbers do not add up: records were created or deleted since the partitions were compared. Run "
            f"`kpc reconcile {table.name} KEY` for each of them, then this again."
        )
    raise typer.Exit(Exit.DONE if is_clean else Exit.FAILED)


def _differences(report: ReconciliationReport) -> Iterator[str]:
    for number in report.comparisons:
        if not number.agrees:
            yield (
                f"{number.measure}: Oracle {number.source}, exceptions {number.excepted}, Salesforce {number.target}"
            )
    if report.records is None:
        return
    for key in report.records.missing_keys:
        yield f"only in Oracle: {key}"
    for key in report.records.surplus_keys:
        yield f"only in Salesforce: {key}"
    for key, fields in report.records.changed_fields:
        yield f"differs: {key} in {', '.join(fields)}"
    for cause, records in report.records.causes.items():
        yield f"{records:,} records: {cause}"
    for what, records in report.records.since.items():
        yield f"{records:,} of the records that Oracle was asked for: {what}"


def _kept_lines(report: ReconciliationReport) -> Iterator[str]:
    yield from map(str, report.kept_records)
    if more := report.kept - len(report.kept_records):
        yield f"and {more:,} more records keep their former values"
