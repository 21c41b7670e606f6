"""Declaring an asset: which asset it is made from, how its manifest is read back, and the function that makes it.

    @asset(upstream=oracle_extract, read=staged_manifest)
    def staged_csv(context: StageContext, extract: ExtractManifest) -> StagedManifest: ...

The function's name is the stage's name, the first line of its docstring says what it is for. Everything that all
stages share (lease, booking, audit entry, result) happens around it, in `kpc.stages.stage_run`. Declarations are read
by Airflow's DAG processor every few seconds, so this module imports nothing heavy.
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

    `read` finds the manifest that the stage made of the partition's current generation, and raises `ConfigError` with
    the command to run where there is none. `waits_for_parents`: parents of the partition come first at this stage.
    """

    stage: str
    purpose: str
    make: Callable[..., HasOutput]
    read: Read
    upstream: StageAsset | None
    waits_for_parents: bool
    after: AfterBooking | None

    def materialize(self, context: PartitionContext, mode: Mode = "incremental", **options: Any) -> StageResult:
        """Make the asset of one partition; `options` go to the asset's own function.

        Raises what that function raises, after the failure was booked.
        """
        from kpc.stages.stage_run import run_stage  # noqa: PLC0415  heavy, see above

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
    """Declare a function as the asset of the stage that it is called after.

    `after` is called with the booked result, whether the stage was run or another run's result taken over.
    """

    def declared(make: Callable[..., HasOutput]) -> StageAsset:
        purpose = (make.__doc__ or "").strip().splitlines()[0].rstrip(".")
        return StageAsset(make.__name__, purpose, make, read, upstream, waits_for_parents, after)

    return declared
