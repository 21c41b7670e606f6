"""--only-keys: records that are sent again although the load has recorded them as sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kpc.cli.output import say
from kpc.errors import ConfigError
from kpc.partition import Partition

if TYPE_CHECKING:
    from kpc.stages.workspace import Workspace


def mark_keys(workspace: Workspace, partitions: Sequence[Partition], file: Path, mode: str) -> None:
    """Mark the records that the file names. Raises `ConfigError` for several partitions or a full load."""
    from kpc.repair.send_again import mark_to_send_again
    from kpc.stages.context import PartitionContext

    if len(partitions) != 1 or mode == "full":
        raise ConfigError(
            "--only-keys names records of one partition, and --mode full sends all of them.",
            "Give one KEY, and leave --mode out.",
        )
    marked = mark_to_send_again(PartitionContext(workspace, partitions[0]), file)
    say(f"{marked:,} records of {partitions[0]} will be sent again.")
