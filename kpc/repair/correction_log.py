"""The audit of corrections: which cells people changed, with hashes of the old and the new value.

A hash is HMAC-SHA256 of `external id, field, value` (joined by 0x1F) with KPC__HASH_KEY as its key, so that a personal
value cannot be found by trying. Whoever has the key and a value can check that it is the one that was sent.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from kpc.ledger import Ledger
from kpc.partition import Environment, Partition
from kpc.stages.context import StageContext
from kpc.stages.names import SF_LOADED
from kpc.storage.manifests import StagedManifest

if TYPE_CHECKING:
    from kpc.repair.corrections import Corrections

ACTION = "refused rows corrected"
_CELLS_PER_ENTRY = 500


@dataclass(frozen=True, slots=True)
class CorrectedCell:
    """One changed cell; `old` and `new` are hashes."""

    external_id: str
    field: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class LoggedCorrection:
    """A changed cell with who sent it, when, and for which partition."""

    at_utc: datetime
    actor: str
    table: str
    key: str
    cell: CorrectedCell

    def as_json(self) -> dict[str, object]:
        facts = {"at_utc": f"{self.at_utc:%F %T}", "actor": self.actor, "table": self.table, "key": self.key}
        return {**facts, **asdict(self.cell)}

    def __str__(self) -> str:
        cell = self.cell
        return (
            f"{self.at_utc:%F %T} {self.actor} corrected {self.table} {self.key}, {cell.external_id}: {cell.field} "
            f"from {cell.old[:12]}... to {cell.new[:12]}..."
        )


def log_corrections(context: StageContext, staged: StagedManifest, corrections: Corrections) -> None:
    """Record every changed cell, before its row is sent."""
    source = _cells(context, corrections)
    while cells := list(islice(source, _CELLS_PER_ENTRY)):
        context.ledger.audit.append(
            ACTION,
            actor=context.actor,
            run_id=context.run_id,
            environment=context.environment,
            partition=context.partition,
            stage=SF_LOADED,
            generation=staged.generation,
            mapping_version=staged.mapping_version,
            detail={"cells": [asdict(cell) for cell in cells]},
            lease=context.lease,
        )


def logged_corrections(
    ledger: Ledger, environment: Environment | None = None, partition: Partition | None = None
) -> list[LoggedCorrection]:
    """Every recorded correction, oldest first; of all partitions when None."""
    return [
        LoggedCorrection(entry.at_utc, entry.actor, entry.table_name or "", entry.partition_key or "", _cell_of(cell))
        for entry in ledger.audit.of_action(ACTION, environment, partition)
        for cell in entry.detail.get("cells", ())
    ]


def _cell_of(logged: Mapping[str, str]) -> CorrectedCell:
    """Readable even if somebody has changed the entry, which the log's hash chain then reveals."""
    return CorrectedCell(*(str(logged.get(name, "")) for name in ("external_id", "field", "old", "new")))


def _cells(context: StageContext, corrections: Corrections) -> Iterator[CorrectedCell]:
    key = context.settings.hash_key.get_secret_value()
    for correction in corrections.values():
        for field, new in correction.after.items():
            hashes = (_hash(key, correction.external_id, field, value) for value in (correction.before[field], new))
            yield CorrectedCell(correction.external_id, field, *hashes)


def _hash(key: str, external_id: str, field: str, value: str) -> str:
    return hmac.new(key.encode(), "\x1f".join((external_id, field, value)).encode(), hashlib.sha256).hexdigest()
