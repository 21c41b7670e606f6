"""Preflight's checks as a page of the Data Docs: kept as one file, which the newest run replaces."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from expectations.files import Project, write_atomically
from kpc.campaign.system_check import CheckState, SystemCheck

_FILE = "preflight.json"


@dataclass(frozen=True, slots=True)
class KeptChecks:
    """One preflight: its checks, and when it ran (UTC)."""

    run_utc: datetime
    checks: tuple[SystemCheck, ...]

    def of_state(self, state: CheckState) -> list[SystemCheck]:
        return [check for check in self.checks if check.state is state]

    @property
    def passed(self) -> list[tuple[str, str, int]]:
        """System, check and number of subjects, for the checks that passed."""
        kinds: dict[tuple[str, str], int] = {}
        for check in self.of_state(CheckState.OK):
            kinds[check.system, check.name] = kinds.get((check.system, check.name), 0) + 1
        return [(system, name, count) for (system, name), count in kinds.items()]


def keep_checks(root: Path, checks: Iterable[SystemCheck], run_utc: datetime) -> None:
    """Replace the checks that the page shows. They hold no personal values: samples are masked."""
    facts = [
        {
            "system": each.system,
            "subject": each.subject,
            "name": each.name,
            "state": each.state.value,
            "message": each.message,
            "remedy": each.remedy,
        }
        for each in checks
    ]
    content = json.dumps({"run_utc": run_utc.isoformat(), "checks": facts}, ensure_ascii=False)
    write_atomically(_file(Project(root)), content)


def kept_checks(project: Project) -> KeptChecks | None:
    """The newest preflight; None if there was none, or if another version wrote it."""
    try:
        stored: dict[str, Any] = json.loads(_file(project).read_bytes())
        checks = tuple(SystemCheck(**{**each, "state": CheckState(each["state"])}) for each in stored["checks"])
        return KeptChecks(datetime.fromisoformat(stored["run_utc"]), checks)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _file(project: Project) -> Path:
    return project.folder / "uncommitted" / _FILE
