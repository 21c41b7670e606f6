"""The overview as the page polls it: built at most once a second; clients that know an earlier one get only changes."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from dags.migration_page.airflow_runs import active_runs, unserved_queues
from kpc.campaign.estimate import FinishEstimate, estimate_finish
from kpc.campaign.overview import ActiveRun, campaign_overview
from kpc.errors import ConfigError, KpcError
from kpc.ledger import Ledger
from kpc.partition import Environment
from kpc.settings import SalesforceSettings, Settings, load_settings
from kpc.stages.workspace import ledger_of

_FRESH_S = 1.0
_ESTIMATE_S = 15.0
_KNOWN_S = 5.0
_RETRY_S = 5.0  # for this long after the ledger did not answer, requests fail at once
_KEPT = 32  # earlier documents for which differences can be sent
_NOT_COMPARED = ("now_utc",)

StageName = tuple[str, str, str]


def _plain(value: Any) -> str:
    """Times as ISO 8601, everything else as text."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


_JSON = json.JSONEncoder(default=_plain, separators=(",", ":"))
ActiveRuns = Callable[[], Mapping[StageName, ActiveRun]]
UnservedQueues = Callable[[], list[dict[str, Any]]]


class NothingHere(ConfigError):
    """The ledger knows no migration, or not the requested one; before the first campaign that is normal."""


class LedgerReader:
    """One api-server process's view of the ledger. Safe for threads."""

    def __init__(
        self,
        settings: Callable[[], Settings] = load_settings,
        *,
        active: ActiveRuns = active_runs,
        unserved: UnservedQueues = unserved_queues,
    ) -> None:
        self._load = settings
        self._active = active
        self.unserved = unserved
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None
        self._failure: tuple[KpcError, float] | None = None
        self._known: tuple[float, list[Environment]] = (0.0, [])
        self._fresh: dict[Environment, tuple[float, dict[str, Any]]] = {}
        self._estimates: dict[Environment, tuple[float, FinishEstimate | None]] = {}
        self._sent: OrderedDict[str, tuple[str, dict[str, str]]] = OrderedDict()  # tables and cells as JSON, by tag

    @property
    def settings(self) -> Settings:
        """The settings. Raises `ConfigError`."""
        return self._load()

    @property
    def ledger(self) -> Ledger:
        """The ledger, opened on first use. Raises `ConfigError` or `Transient`, the same one for five seconds."""
        with self._lock:
            if self._ledger is None:
                if self._failure is not None and time.monotonic() - self._failure[1] < _RETRY_S:
                    raise self._failure[0]
                try:
                    self._ledger = _existing_ledger(self.settings)
                except KpcError as error:
                    self._failure = (error, time.monotonic())
                    raise
                self._failure = None
            return self._ledger

    def environments(self) -> list[Environment]:
        """The known environments, most recently used first; at most five seconds old, unless there was none."""
        ledger, (made_s, known) = self.ledger, self._known
        if not known or time.monotonic() - made_s > _KNOWN_S:
            known = ledger.overview.environments()
            self._known = (time.monotonic(), known)
        return known

    def environment(self, source_id: str = "", target_id: str = "") -> Environment:
        """The named environment, or the most recently used. Raises `NothingHere` if there is none."""
        known = self.environments()
        if source_id or target_id:
            known = [one for one in known if (one.source_id, one.target_id) == (source_id, target_id)]
        if not known:
            raise NothingHere(
                "This migration is not in the ledger." if source_id or target_id else "No migration has started yet.",
                "Start the DAG campaign in Airflow, or plan one with `kpc plan --months 2024-01:3`; then it is here.",
            )
        return known[0]

    def document(self, environment: Environment) -> dict[str, Any]:
        """The overview, at most a second old."""
        ledger = self.ledger
        with self._lock:
            made_s, document = self._fresh.get(environment, (0.0, {}))
            if not document or time.monotonic() - made_s > _FRESH_S:
                settings = self.settings.salesforce
                estimate = self._estimate(ledger, environment, settings)
                document = campaign_overview(ledger, environment, settings, active=self._active(), estimate=estimate)
                document["unserved"] = self.unserved()
                self._fresh[environment] = (time.monotonic(), document)
            return document

    def _estimate(
        self, ledger: Ledger, environment: Environment, settings: SalesforceSettings
    ) -> FinishEstimate | None:
        made_s, estimate = self._estimates.get(environment, (0.0, None))
        if not made_s or time.monotonic() - made_s > _ESTIMATE_S:
            estimate = estimate_finish(ledger, environment, settings)
            self._estimates[environment] = (time.monotonic(), estimate)
        return estimate

    def answer(self, document: dict[str, Any], since: str) -> tuple[str, str]:
        """The tag of a document, equal for equal content, and the JSON for somebody who has the one tagged `since`.

        It has only the cells that differ, or all if the earlier document is forgotten. Each value is encoded only once.
        """
        cells = {f"{cell['table']} {cell['key']}": _JSON.encode(cell) for cell in document["cells"]}
        rest = {name: _JSON.encode(value) for name, value in document.items() if name != "cells"}
        content = ",".join([text for name, text in rest.items() if name not in _NOT_COMPARED] + list(cells.values()))
        tag = hashlib.sha256(content.encode()).hexdigest()[:32]
        with self._lock:
            before = self._sent.get(since)
            self._sent[tag] = (rest["tables"], cells)
            self._sent.move_to_end(tag)
            while len(self._sent) > _KEPT:
                self._sent.popitem(last=False)
        chosen = list(cells.values())
        if before is not None and before[0] == rest["tables"]:
            chosen = [text for name, text in cells.items() if before[1].get(name) != text]
            rest["since"] = _JSON.encode(since)
        known = [{"source_id": one.source_id, "target_id": one.target_id} for one in self.environments()]
        rest |= {"tag": _JSON.encode(tag), "environments": _JSON.encode(known), "cells": f"[{','.join(chosen)}]"}
        return tag, "{" + ",".join(f'"{name}":{text}' for name, text in rest.items()) + "}"

    def forget(self) -> None:
        """Rebuild the next document, because something was changed."""
        with self._lock:
            self._fresh.clear()


def _existing_ledger(settings: Settings) -> Ledger:
    """The ledger that the workers write, which the settings must name. Raises `ConfigError` or `Transient`."""
    if settings.ledger_url == Settings.model_fields["ledger_url"].default:
        raise ConfigError(
            "Airflow's api-server does not know where the ledger is.",
            "Set KPC__LEDGER_URL (or KPC_CONFIG) for the api-server as for the workers, then restart it.",
        )
    return ledger_of(settings)
