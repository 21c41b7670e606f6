"""What to do about a mismatch, by its kind: which commands repair it, and which do not."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from decimal import Decimal

from kpc.reconcile.causes import HEALED, DifferenceCause
from kpc.reconcile.report import ReconciliationReport
from kpc.stages.context import PartitionContext
from kpc.storage.layout import REPORT


def mismatch_remedy(context: PartitionContext, report: ReconciliationReport) -> str:
    """Sentences for the message of a mismatch.

    A load sends the rows that are new or changed in Oracle. Records that somebody deleted or changed in Salesforce are
    neither: they are sent again by key, or with all others by a full load. No load deletes a record.
    """
    return " ".join(_sentences(context, report))


def _sentences(context: PartitionContext, report: ReconciliationReport) -> Iterator[str]:
    table, key = context.table.name, context.key
    if all(one.agrees for one in report.comparisons) and report.second_opinion and report.second_opinion.differing:
        yield (
            "All other comparisons agree, so a conversion rule is wrong, in kpc/convert or in "
            f"kpc/reconcile/second_opinion: compare the records that {_file(context, report, REPORT)} lists under "
            "second_opinion with docs/values.md, correct the rule, then "
            f"`kpc run {table} {key} --mode full`."
        )
        return
    if file := healing_file(context, report):
        yield (
            f"`kpc run {table} {key} --only-keys {file}` sends the lost and changed records again (in Airflow "
            f"`kpc rerun {table} {key} --only-keys {file}`); without --only-keys only rows that changed in Oracle are "
            "sent, which repairs nothing here."
        )
    elif _has_too_few(report):
        yield (
            f"Records were deleted or changed in Salesforce, or never arrived: `kpc run {table} {key} --mode full` (in "
            f"Airflow `kpc rerun {table} {key} --mode full`) sends every row again; without --mode full only rows that "
            "changed in Oracle are sent, which repairs nothing here."
        )
    if _has_too_many(report):
        yield (
            "No load deletes records that only Salesforce has: delete them there; or, if this migration created "
            f"them, `kpc rollback {table} {key} --yes` deletes what it created, and "
            f"`kpc run {table} {key} --mode full` loads it again."
        )
    if report.records is not None and report.records.since:
        moved = ", ".join(f"{count:,} {what}" for what, count in report.records.since.items())
        yield (
            f"Of the differing rows that Oracle was asked for, {moved}: `kpc run {table} {key} --mode full` reads the "
            "partition again and sends Oracle's current rows, so that both sides are compared as of now."
        )
    if report.records is None or not (report.records.changed or report.records.missing or report.records.surplus):
        yield f"`kpc reconcile {table} {key} --drill` compares every record and lists the keys that differ."
    place = _file(context, report, REPORT)
    yield f"`kpc show {table} {key}` lists the numbers; keys and fields are in {place}."


def healing_file(context: PartitionContext, report: ReconciliationReport) -> str:
    """The file of differences, quoted for a shell, if it lists them all and sending records again repairs some."""
    records = report.records
    if records is None or records.file is None or records.file.rows < records.missing + records.changed:
        return ""
    if not HEALED.intersection(map(DifferenceCause, records.causes)):
        return ""
    return shlex.quote(_file(context, report, records.file.name))


def _file(context: PartitionContext, report: ReconciliationReport, name: str) -> str:
    return context.store.shown(context.paths.generation(report.generation).reconciled / name)


def _has_too_few(report: ReconciliationReport) -> bool:
    """Whether records are missing or changed; also assumed if only the sums differ."""
    records, surplus = report.records, _surplus_rows(report)
    if records is not None and (records.missing or records.changed):
        return True
    return surplus < 0 or (surplus == 0 and (records is None or not records.surplus))


def _has_too_many(report: ReconciliationReport) -> bool:
    return _surplus_rows(report) > 0 or (report.records is not None and report.records.surplus > 0)


def _surplus_rows(report: ReconciliationReport) -> Decimal:
    rows = report.comparisons[0]
    return (rows.target or Decimal(0)) - (rows.source or Decimal(0)) + rows.excepted
