"""A second opinion requested later, for an extract that was sealed without one, or with fewer buckets.

Oracle is asked as of the extract's SCN, as long as its undo reaches back that far. The answers are kept in their own
folder beside the sealed extract, which is never changed; every later comparison of all records uses them.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from kpc.catalog.types import BUCKETS
from kpc.errors import ConfigError, SnapshotLost, Terminal
from kpc.extract.chunk_reader import read_opinions
from kpc.extract.plan import ExtractPlan, make_plan
from kpc.extract.window import refuse_outside
from kpc.ledger.vouching import Vouched
from kpc.private_files import make_private
from kpc.reconcile.second_opinion.coverage import drawn_buckets
from kpc.reconcile.second_opinion.digest_layout import has_opinion
from kpc.reconcile.second_opinion.sealed_opinion import KeptOpinions
from kpc.stages.context import PartitionContext, StageContext
from kpc.stages.vouched_work import file_name
from kpc.storage.layout import EXTRACT_PLAN
from kpc.storage.manifests import ExtractManifest, OpinionManifest
from kpc.storage.store import MANIFEST, describe_file, read_manifest, remove_leftovers, write_manifest

log = logging.getLogger(__name__)

ALL_BUCKETS = "all"


class _AskedPlan(BaseModel):
    """Saved before the first row is read, so that an interrupted reading continues."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    buckets: tuple[int, ...]
    plan: ExtractPlan


def wanted_buckets(context: PartitionContext, share: str) -> tuple[int, ...]:
    """The buckets that `share` names: `all`, or how many. Raises `ConfigError`."""
    if not has_opinion(context.table):
        raise ConfigError(
            f"Oracle cannot compute the keys of {context.table.name}, so it has no opinion on its rows.",
            f"Compare without it: `kpc reconcile {context.table.name} {context.key}`.",
        )
    if share == ALL_BUCKETS:
        return drawn_buckets(context.partition, BUCKETS)
    if share.isascii() and share.isdigit() and 1 <= int(share) <= BUCKETS:
        return drawn_buckets(context.partition, int(share))
    raise ConfigError(
        f"{share!r} is not a share of a partition.",
        f"Give --second-opinion all, or a number of buckets from 1 to {BUCKETS}.",
    )


def kept_opinions(context: PartitionContext, extract: ExtractManifest) -> KeptOpinions | None:
    """Whichever covers more buckets: the opinions sealed with the extract, or those requested later."""
    paths = context.paths.generation(extract.generation)
    asked = context.store.manifest(paths.opinions, OpinionManifest)
    if asked is not None and len(asked.buckets) > len(extract.opinion_buckets):
        return KeptOpinions(asked.buckets, paths.opinions, asked.chunks)
    return KeptOpinions(extract.opinion_buckets, paths.extract, extract.chunks) if extract.opinion_buckets else None


def ask_opinions(context: StageContext, extract: ExtractManifest, share: str) -> None:
    """Ask Oracle for its opinions on the rows in some buckets, unless they are already kept.

    Raises `ConfigError` if Oracle can no longer read the extract's SCN, `OutsideWindow` (even between two files), and
    `Terminal` if Oracle's control totals are not those of the extract.
    """
    wanted = wanted_buckets(context, share)
    known = kept_opinions(context, extract)
    if known is not None and set(wanted) <= set(known.buckets):
        return
    window = context.settings.oracle.window
    refuse_outside(window, context.clock())
    folder = make_private(context.paths.generation(extract.generation).opinions)
    try:
        asked = _plan(context, extract, wanted, folder)
        remove_leftovers(folder)
        chunks = read_opinions(
            context.oracle,
            context.partition,
            asked.plan,
            wanted,
            folder,
            lambda: refuse_outside(window, context.clock()),
        )
    except SnapshotLost as lost:
        raise _too_late(context, extract, share) from lost
    manifest = OpinionManifest(
        table=context.table.name,
        key=context.key,
        generation=extract.generation,
        scn=extract.scn,
        buckets=wanted,
        rows=sum(chunk.rows for chunk in chunks),
        chunks=chunks,
        asked_utc=context.clock(),
        asked_by=context.actor,
    )
    context.store.publish(folder, manifest, chunks)
    _record(context, manifest, folder)
    log.info("%s: Oracle gave its opinion on %s rows in %d buckets", context, f"{manifest.rows:,}", len(wanted))


def _plan(context: StageContext, extract: ExtractManifest, wanted: tuple[int, ...], folder: Path) -> _AskedPlan:
    """The saved plan for these buckets; a plan for other buckets is removed."""
    saved = read_manifest(folder, _AskedPlan, EXTRACT_PLAN)
    if saved is not None and saved.buckets == wanted:
        return saved
    _forget(context, extract, folder)
    rows = max(chunk.rows for chunk in extract.chunks) if extract.chunks else 1
    plan = context.oracle.repeated(
        lambda: make_plan(
            context.oracle,
            context.partition,
            scn=extract.scn,
            mode="full",
            chunk_rows=max(rows, 1),
            started_utc=context.clock(),
        )
    )
    if plan.control_totals != extract.control_totals:
        raise Terminal(
            f"Oracle's control totals of {context} as of SCN {extract.scn} are not those of the sealed extract.",
            "Check that KPC__ORACLE__DSN names the same database, then extract it again: "
            f"`kpc run {context.table.name} {context.key} --mode full`.",
        )
    made = _AskedPlan(buckets=wanted, plan=plan)
    write_manifest(make_private(folder), made, EXTRACT_PLAN)
    return made


def _forget(context: StageContext, extract: ExtractManifest, folder: Path) -> None:
    """Remove opinions of fewer buckets, with an audit entry."""
    former = context.store.manifest(folder, OpinionManifest)
    if former is not None:
        names = [file_name(context, path) for path in _files(folder, former)]
        context.ledger.audit.append(
            "second opinion replaced",
            actor=context.actor,
            run_id=context.run_id,
            environment=context.environment,
            partition=context.partition,
            generation=extract.generation,
            detail={"buckets": len(former.buckets)},
            vouched=Vouched(files=dict.fromkeys(names)),
            lease=context.lease,
        )
    context.store.withdraw(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _record(context: StageContext, manifest: OpinionManifest, folder: Path) -> None:
    described = ((path, describe_file(path, rows=0)) for path in _files(folder, manifest))
    context.ledger.audit.append(
        "second opinion asked",
        actor=context.actor,
        run_id=context.run_id,
        environment=context.environment,
        partition=context.partition,
        generation=manifest.generation,
        detail={"scn": manifest.scn, "buckets": len(manifest.buckets), "rows": manifest.rows},
        vouched=Vouched(files={file_name(context, path): (fact.bytes, fact.sha256) for path, fact in described}),
        lease=context.lease,
    )


def _files(folder: Path, manifest: OpinionManifest) -> Iterator[Path]:
    yield folder / MANIFEST
    yield from (folder / chunk.name for chunk in manifest.chunks)


def _too_late(context: StageContext, extract: ExtractManifest, share: str) -> ConfigError:
    table, key = context.table.name, context.key
    setting = "full" if share == ALL_BUCKETS else "some"
    return ConfigError(
        f"Oracle can no longer read {context} as of SCN {extract.scn}, so it cannot give its opinion on this extract.",
        f"Set KPC__RECONCILE__SECOND_OPINION={setting} and extract the partition again: "
        f"`kpc run {table} {key} --mode full`. `kpc reconcile {table} {key}` compares without it.",
    )
