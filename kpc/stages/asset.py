"""Declaring an asset: its upstream asset, the function that materializes it, and how its manifest is read back.

    @asset(upstream=oracle_extract, read=staged_manifest)
    def staged_csv(context: StageContext, extract: ExtractManifest) -> StagedManifest: ...

The function's name is the stage's name, and the first line of its docstring is the asset's description. What all
stages share (lease, ledger entry, audit entry, result) is done around it by `kpc.stages.stage_run`. Airflow's DAG
processor parses declarations every few seconds, so this module imports nothing that is slow to import.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kpc.stages.context import Mode, PartitionContext, StageContext
    from kpc.stages.result import StageResult
    from kpc.stages.stage_run import HasOutput

Read = Callable[["PartitionContext"], "HasOutput"]
AfterBooking = Callable[["PartitionContext", "StageResult"], None]


@dataclass(frozen=True, slots=True)
class StageAsset:
    """One stage as an asset of every table.

    `read` returns the stage's manifest for the partition's current generation, and raises `ConfigError` with the
    command to run if there is none. `waits_for_parents`: this stage of the parent partitions must be done first.
    """

    stage: str
    purpose: str
    make: Callable[..., HasOutput]
    read: Read
    upstream: StageAsset | None
    waits_for_parents: bool
    after: AfterBooking | None

    def materialize(self, context: PartitionContext, mode: Mode = "incremental", **options: Any) -> StageResult:
        """Materialize the asset of one partition; `options` are passed to the asset's own function.

        Raises what that function raises, after recording the failure.
        """
        from kpc.stages.stage_run import run_stage  # noqa: PLC0415  slow to import, see above

        def make(running: StageContext) -> HasOutput:
            upstream = () if self.upstream is None else (self.upstream.read(running),)
            return self.make(running, *upstream, **options)

        result = run_stage(context, self.stage, make, mode=mode).result
        if self.after is not None:
            self.after(context, result)
        return result


def asset(
    *,
    read: Read,
    upstream: StageAsset | None = None,
    waits_for_parents: bool = False,
    after: AfterBooking | None = None,
) -> Callable[[Callable[..., HasOutput]], StageAsset]:
    """Declare a function as an asset; the function's name is that of the stage.

    `after` is called with the recorded result, whether this run or another one produced it.
    """

    def declared(make: Callable[..., HasOutput]) -> StageAsset:
        purpose = (make.__doc__ or "").strip().splitlines()[0].rstrip(".")
        return StageAsset(make.__name__, purpose, make, read, upstream, waits_for_parents, after)

    return declared
