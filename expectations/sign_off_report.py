"""The report that people sign: one file per call, self-contained and printable, never replaced."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from expectations import data_docs, pages
from expectations.campaign_facts import CampaignFacts, ObjectFacts
from expectations.campaign_reading import read_campaign
from expectations.files import Project, write_atomically
from expectations.overview import Line, TableGroup, Totals, lines_of, needing_review, phases_of
from expectations.results import State, ValidationRun, read_run
from kpc.campaign.completeness import Completeness, counted_completeness
from kpc.campaign.sign_off_figures import table_figures
from kpc.catalog import TABLES, Phase
from kpc.errors import ConfigError
from kpc.ledger import Vouched
from kpc.stages.names import MIGRATION
from kpc.stages.vouched_work import DOCS
from kpc.stages.workspace import Workspace
from kpc.tool_version import tool_version


@dataclass(frozen=True, slots=True)
class PartitionEvidence:
    """A partition with its newest result and the sha256 of that result's file."""

    line: Line
    run: ValidationRun | None
    sha256: str

    @property
    def scn(self) -> str:
        return dict(self.run.facts).get("SCN", "") if self.run else ""


@dataclass(frozen=True, slots=True)
class TableEvidence:
    """A table of the report. `causes` are exceptions by reason, `unassigned` rows that belong to no month, by cause.

    For `opinions` records, Oracle itself computed, with independent value rules, what Salesforce must hold.
    """

    group: TableGroup
    totals: Totals
    partitions: tuple[PartitionEvidence, ...]
    causes: tuple[tuple[str, int], ...]
    unassigned: tuple[tuple[str, int], ...]
    counted: ObjectFacts | None
    opinions: int


@dataclass(frozen=True, slots=True)
class SignOffReport:
    """What the page shows. `written_by` requested it; `tool_version` wrote it, each result names its own version."""

    subject: str
    phase: Phase | None
    written_utc: datetime
    written_by: str
    tool_version: str
    found: Completeness
    campaign: CampaignFacts
    totals: Totals
    tables: tuple[TableEvidence, ...]

    @property
    def opinions(self) -> int:
        return sum(table.opinions for table in self.tables)

    @property
    def needs_review(self) -> list[Line]:
        return needing_review([one.line for table in self.tables for one in table.partitions])


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """The file of a report, with its sha256; `is_complete`: nothing is missing for the sign-off.

    `index` is the overview of the Data Docs, which links to it.
    """

    file: Path
    index: Path
    sha256: str
    subject: str
    is_complete: bool
    summary: str


def write_report(root: Path, workspace: Workspace, phase: Phase | None) -> WrittenReport:
    """Write the report of a phase, or of the whole migration, from the results under `root` and the ledger.

    Objects are counted first, if only that is missing. The report's hash is entered in the audit log. Raises
    `ConfigError` if no campaign has been planned.
    """
    found = counted_completeness(phase, workspace)
    if found is None:
        raise ConfigError("No campaign has been planned yet.", "Run `kpc plan --months FIRST:COUNT` first.")
    project = Project(root)
    report = _report(project, workspace, phase, found)
    content = pages.render("report.html.j2", "report.html", report=report, style=pages.style()).encode()
    sha256 = hashlib.sha256(content).hexdigest()
    file = project.reports / f"{report.subject}-{report.written_utc:%Y%m%dT%H%M%SZ}-{sha256[:8]}.html"
    write_atomically(file, content)
    workspace.ledger.audit.append(
        "sign-off report",
        actor=workspace.actor,
        run_id=workspace.run_id,
        environment=workspace.environment,
        detail={"subject": report.subject, "file": file.name, "sha256": sha256, "is_complete": found.is_complete},
        vouched=Vouched(files={f"{DOCS}/{file.relative_to(project.root).as_posix()}": (len(content), sha256)}),
    )
    index = data_docs.build(root)  # the overview links to it
    return WrittenReport(file, index, sha256, report.subject, found.is_complete, found.summary)


def _report(project: Project, workspace: Workspace, phase: Phase | None, found: Completeness) -> SignOffReport:
    campaign = read_campaign(project.root, workspace)
    data_docs.build(project.root)
    lines = [
        line
        for line in lines_of(data_docs.runs_of_site(project), campaign)
        if line.facts and (phase is None or TABLES[line.table].phase is phase)
    ]
    return SignOffReport(
        subject=phase.value if phase else MIGRATION,
        phase=phase,
        written_utc=workspace.clock(),
        written_by=workspace.actor,
        tool_version=tool_version(),
        found=found,
        campaign=campaign,
        totals=Totals.of(lines),
        tables=tuple(_tables(project, workspace, campaign, lines, phase)),
    )


def _tables(
    project: Project, workspace: Workspace, campaign: CampaignFacts, lines: Sequence[Line], phase: Phase | None
) -> list[TableEvidence]:
    causes: dict[str, Counter[str]] = {}
    for table, _, code, rows in workspace.ledger.failures.counts(workspace.environment):
        causes.setdefault(table, Counter())[code] += rows
    scope = workspace.ledger.scope.current(workspace.environment)
    unassigned = scope.unassigned if scope else {}
    opinions = {one.table.name: one.figures.opinions for one in table_figures(phase, scope, workspace)} if scope else {}
    objects = {one.table: one for one in campaign.objects}
    return [
        TableEvidence(
            group=group,
            totals=Totals.of(group.lines),
            partitions=tuple(_evidence(project, line) for line in group.lines),
            causes=tuple(sorted(causes.get(group.name, {}).items())),
            unassigned=tuple(sorted(unassigned.get(group.name, {}).items())),
            counted=objects.get(group.name),
            opinions=opinions.get(group.name, 0),
        )
        for one in phases_of(lines)
        for group in one.tables
        if group.lines
    ]


def _evidence(project: Project, line: Line) -> PartitionEvidence:
    if line.newest is None or line.state is State.WAITING:
        return PartitionEvidence(line, None, "")
    file = data_docs.result_file(project, line.newest.path)
    content = file.read_bytes()
    return PartitionEvidence(line, read_run(json.loads(content), line.newest.path), hashlib.sha256(content).hexdigest())
