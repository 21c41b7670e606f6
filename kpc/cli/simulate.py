"""`kpc plan --simulate`: estimate how long the migration takes within the quota, on a virtual clock."""

from __future__ import annotations

import typer

from kpc.cli.output import Exit, emit, grid, say
from kpc.errors import ConfigError


def run_simulation(rows: int, rows_per_s: float, *, share: float | None, reserve: float | None, as_json: bool) -> None:
    """Run the three scenarios and exit with 1 if one misses its goal.

    `share` and `reserve` default to the settings when None. Raises `ConfigError` for values out of range.
    """
    from kpc.campaign.simulation import scenarios, simulate
    from kpc.settings import SalesforceSettings, load_settings

    given = {"quota_share": share, "retry_reserve": reserve}
    configured = load_settings().salesforce.model_dump() | {k: v for k, v in given.items() if v is not None}
    try:
        settings = SalesforceSettings.model_validate(configured)
    except ValueError:
        raise ConfigError(
            "The share must be above 0 and at most 1, the reserve at least 0 and below 1.",
            "Correct --share and --reserve.",
        ) from None
    results = []
    for scenario in scenarios(rows, settings, rows_per_s):
        say(f"Simulating {scenario.name} ...")
        results.append(simulate(scenario, settings))
    is_ok = all(result.is_ok for result in results)
    facts = {
        "ok": is_ok,
        "records": rows,
        "records_per_s": rows_per_s,
        "share": settings.quota_share,
        "reserve": settings.retry_reserve,
        "scenarios": [result.as_json() for result in results],
    }
    columns = (
        "scenario",
        "jobs",
        "days",
        "floor_days",
        "ratio",
        "over_quota_records",
        "calls_per_job",
        "restarts",
        "ok",
    )
    cells = [[result.as_json()[column] for column in columns] for result in results]
    title = (
        f"{rows:,} records, {settings.quota_share:.0%} of the quota, {settings.retry_reserve:.0%} of that in reserve"
    )
    emit(facts, as_json=as_json, text=grid(title, columns, cells))
    raise typer.Exit(Exit.DONE if is_ok else Exit.FAILED)
