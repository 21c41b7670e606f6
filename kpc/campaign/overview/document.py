"""The overview as one JSON document, from a few grouped queries of the ledger; docs/migration-page.md describes it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from kpc.campaign.estimate import FinishEstimate
from kpc.campaign.overview.cells import ActiveRun, OverviewFacts, PartitionName, ShownState, StageName, cell_of
from kpc.campaign.overview.decisions import decisions_of, standing_certificates
from kpc.campaign.overview.planned_spans import planned_spans
from kpc.campaign.overview.quota import quota_of
from kpc.catalog import TABLES, Phase
from kpc.catalog.types import ALL
from kpc.ledger import CampaignRow, Ledger, NewestRun, ScopeRow
from kpc.ledger.states import PauseScope, SourceCheckState, StageState
from kpc.partition import Environment
from kpc.settings import SalesforceSettings
from kpc.stages.names import MIGRATION, RECONCILED, SF_LOADED, STAGES

FORMAT = 1  # of the document; raised by every change that its readers must know
_RATE_WINDOW = timedelta(minutes=5)
_PASSED = {ShownState.RECONCILED, ShownState.RECONCILED_WITH_EXCEPTIONS}
_DIFFERING = (StageState.MISMATCH, StageState.RECONCILED_WITH_EXCEPTIONS)


def campaign_overview(
    ledger: Ledger,
    environment: Environment,
    salesforce: SalesforceSettings,
    *,
    active: Mapping[StageName, ActiveRun] | None = None,
    estimate: FinishEstimate | None = None,
) -> dict[str, Any]:
    """The state of every partition that is planned or was begun, with totals, quota, pauses and sign-offs.

    `active` are Airflow's runs that have not ended, if the caller knows them; `estimate` is left to the caller, because
    it costs as much as the rest and may be a little older. Values are plain data, except that times are
    `datetime`. Raises `Transient` or `ConfigError` if the ledger cannot be read.
    """
    scope = ledger.scope.current(environment)
    facts = _ledger_facts(ledger, environment, active or {})
    names = _partitions(scope, facts)
    cells = [cell_of(name, facts) for name in names]
    pauses = ledger.pauses.active(environment)
    throughput = ledger.overview.throughput(environment, _RATE_WINDOW)
    decisions = decisions_of(ledger.sign_offs.all(environment), facts.certificates, names)
    return {
        "format": FORMAT,
        "now_utc": facts.now,
        "environment": {"source_id": environment.source_id, "target_id": environment.target_id},
        "scope": _scope(scope),
        "campaign": _campaign(ledger.campaigns.all(environment)),
        "stages": list(STAGES),
        "months": sorted({key for _, key in names if key != ALL}),
        "tables": [_table(table, names) for table in dict.fromkeys(table for table, _ in names)],
        "cells": cells,
        "totals": {**_totals(cells), "rows_per_s": round(throughput.rows_per_s, 1)},
        "phases": [_phase(phase, cells) for phase in Phase if any(_phase_of(name) == phase for name, _ in names)],
        "quota": quota_of(ledger, environment.target_id, salesforce),
        "estimate": None if estimate is None else {**estimate.as_json(), "summary": estimate.summary},
        "planned": planned_spans(scope, cells, estimate.finish_utc if estimate else None),
        "pauses": [
            {"kind": one.kind, "name": one.name, "actor": one.actor, "reason": one.reason, "paused_utc": one.paused_utc}
            for one in pauses
        ],
        "sign_offs": decisions,
        "awaiting": _awaiting(cells, decisions),
    }


def only_tables(document: Mapping[str, Any], tables: Collection[str]) -> dict[str, Any]:
    """The document for somebody who may see only these tables."""
    cells = [cell for cell in document["cells"] if cell["table"] in tables]
    listed = [table for table in document["tables"] if table["table"] in tables]
    phases = dict.fromkeys(Phase(table["phase"]) for table in listed)
    return {
        **document,
        "tables": listed,
        "months": sorted({cell["key"] for cell in cells if cell["key"] != ALL}),
        "cells": cells,
        "totals": {**_totals(cells), "rows_per_s": document["totals"]["rows_per_s"]},
        "phases": [_phase(phase, cells) for phase in phases],
    }


def _ledger_facts(ledger: Ledger, environment: Environment, active: Mapping[StageName, ActiveRun]) -> OverviewFacts:
    overview = ledger.overview
    runs: dict[PartitionName, dict[str, NewestRun]] = defaultdict(dict)
    for run in overview.newest_runs(environment):
        runs[run.table_name, run.partition_key][run.stage] = run
    failures = defaultdict(list)
    for one in overview.failures(environment):
        failures[one.table_name, one.partition_key].append(one)
    verdicts = [found[RECONCILED] for found in runs.values() if RECONCILED in found]
    differing = [run.id for run in verdicts if run.state in _DIFFERING]
    generations = overview.current_generations(environment)
    accepted = {one.subject: one.signed_utc for one in ledger.sign_offs.all(environment) if one.decision == "accepted"}
    return OverviewFacts(
        now=ledger.clock(),
        runs=runs,
        loads={(one.table_name, one.partition_key): one for one in overview.running_loads(environment)},
        leases=frozenset(overview.live_leases(environment)),
        failures=failures,
        differences=overview.differing_measures(differing),
        certificates=standing_certificates(ledger, environment, runs, generations),
        moved=frozenset(
            (check.table_name, check.partition_key)
            for check in ledger.source_checks.newest(environment)
            if check.state is SourceCheckState.MOVED
            and generations.get((check.table_name, check.partition_key)) == check.generation
            and not _is_accepted(accepted.get(f"{check.table_name} {check.partition_key}"), check.checked_utc)
        ),
        active=active,
    )


def _is_accepted(signed_utc: Any, checked_utc: Any) -> bool:
    return signed_utc is not None and signed_utc > checked_utc


def _partitions(scope: ScopeRow | None, facts: OverviewFacts) -> list[PartitionName]:
    """The planned and the begun partitions, in load order, then by key."""
    planned = {
        (name, key)
        for name in (scope.tables if scope else ())
        if name in TABLES
        for key in (scope.months if scope and TABLES[name].is_monthly else (ALL,))
    }
    order = {name: position for position, name in enumerate(TABLES)}
    known = planned | {name for name in facts.runs if name[0] in order} | facts.loads.keys()
    known |= {(table, key) for table, key, _ in facts.active}
    return sorted((name for name in known if name[0] in order), key=lambda name: (order[name[0]], name[1]))


def _scope(scope: ScopeRow | None) -> dict[str, Any] | None:
    if scope is None:
        return None
    names = ("months", "tables", "mode", "run_id", "actor", "set_utc")
    return {name: getattr(scope, name) for name in names}


def _campaign(all_of_them: Sequence[CampaignRow]) -> dict[str, Any] | None:
    """The newest campaign."""
    if not all_of_them:
        return None
    names = ("id", "state", "mode", "round", "run_id", "actor", "started_utc", "ended_utc", "ended_by", "reason")
    return {name: getattr(all_of_them[-1], name) for name in names}


def _table(name: str, names: Sequence[PartitionName]) -> dict[str, Any]:
    table = TABLES[name]
    keys = [key for other, key in names if other == name]
    return {
        "table": name,
        "object": table.target,
        "phase": table.phase.value,
        "is_monthly": table.is_monthly,
        "slug": table.slug,
        "keys": keys,
    }


def _totals(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    classes: Counter[str] = Counter()
    for cell in cells:
        for one in cell.get("failures", ()):
            classes[one["class"]] += one["rows"]
    stages = {stage: sum(_rows(cell, at) for cell in cells) for at, stage in enumerate(STAGES)}
    return {
        "partitions": len(cells),
        "by_state": _by_state(cells),
        "rows": stages,
        "arrived": sum(_arrived(cell) for cell in cells),
        "failures": dict(sorted(classes.items())),
        "stopped": sum("stopped" in cell for cell in cells),
        "moved": sum("moved" in cell for cell in cells),
    }


def _arrived(cell: Mapping[str, Any]) -> int:
    """Records in Salesforce: as reconciled, else as sent by the newest load, without those that were there before."""
    load, verdict = STAGES.index(SF_LOADED), STAGES.index(RECONCILED)
    return _rows(cell, verdict if cell["stages"][verdict]["state"] in _PASSED else load)


def _rows(cell: Mapping[str, Any], at: int) -> int:
    return int(cell["stages"][at].get("rows", 0))


def _by_state(cells: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    counted = Counter(cell["state"] for cell in cells)
    return {state.value: counted[state] for state in ShownState if counted[state]}


def _phase_of(name: str) -> Phase:
    return TABLES[name].phase


def _phase(phase: Phase, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    mine = [cell for cell in cells if _phase_of(cell["table"]) == phase]
    return {"phase": phase.value, "partitions": len(mine), "by_state": _by_state(mine)}


def _awaiting(cells: Sequence[Mapping[str, Any]], decisions: Sequence[Mapping[str, Any]]) -> list[str]:
    """The phases, and `migration`, that are reconciled, unchanged in Oracle, and without a valid decision."""
    decided = {one["subject"] for one in decisions if one["stands"] is not False}
    is_settled = {(cell["table"], cell["key"]): cell["state"] in _PASSED and "moved" not in cell for cell in cells}
    parts = {phase.value: [name for name in is_settled if _phase_of(name[0]) == phase] for phase in Phase}
    parts[MIGRATION] = list(is_settled)
    return [
        subject
        for subject, names in parts.items()
        if names and all(is_settled[name] for name in names) and subject not in decided
    ]


def is_paused(table: str, pauses: Iterable[Mapping[str, Any]]) -> bool:
    """Whether one of the document's pauses applies to a table."""
    of = {PauseScope.ALL: "all", PauseScope.PHASE: _phase_of(table).value, PauseScope.TABLE: table}
    return any(of[PauseScope(pause["kind"])] == pause["name"] for pause in pauses)
