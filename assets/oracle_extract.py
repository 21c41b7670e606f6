"""Stage 1: a partition as of one SCN, as Parquet, checked against Oracle's own totals and then sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpc.stages.asset import asset
from kpc.stages.current_manifests import sealed_extract

if TYPE_CHECKING:
    from kpc.stages.context import StageContext
    from kpc.storage.manifests import ExtractManifest


@asset(read=sealed_extract)
def oracle_extract(context: StageContext, *, same_scn: bool = False) -> ExtractManifest:
    """Reads the partition out of Oracle as of one SCN into Parquet, with Oracle's own counts and sums.

    Every run seals a new generation, unless another run began one after this run was requested, or a pass over the
    whole table has already read the month. If the plan reads the table in one pass, the first month that is run
    reads all missing months. `same_scn`: a partition that was read before is read at the SCN last recorded for its
    parents or children. Raises `OutsideWindow` outside the hours in which Oracle may be read, and `PassRunning`.
    """
    from kpc.extract.one_pass import (  # noqa: PLC0415  heavy; see kpc.stages.asset
        month_of_one_pass,
        read_with_other_months,
    )
    from kpc.extract.partition_extract import (  # noqa: PLC0415
        extract_partition,
        recent_extract,
        refuse_outside_window,
    )
    from kpc.stages.campaign_constants import require_hash_key  # noqa: PLC0415

    require_hash_key(context)
    refuse_outside_window(context)
    return (
        recent_extract(context)
        or month_of_one_pass(context)
        or read_with_other_months(context)
        or extract_partition(context, same_scn=same_scn)
    )
