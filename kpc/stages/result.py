"""The small thing that travels between stages in place of rows: what was made, how much, how long it took."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from kpc.partition import Partition


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one stage made of one partition. `rows` and `bytes` as the stage counts them; `seconds` of wall time.

    `state` is `done` or, from reconciled, `reconciled` or `reconciled_with_exceptions`. `detail` holds the stage's own
    counts (such as staged, unchanged, rejected) and never a value of a row.
    """

    table: str
    key: str
    stage: str
    generation: str
    rows: int
    bytes: int
    seconds: float
    state: str = "done"
    detail: dict[str, int | str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Plain data for an asset event, XCom or `--json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Made:
    """A stage's result before it is timed and booked."""

    generation: str
    rows: int
    bytes: int
    state: str = "done"
    mapping_version: str | None = None
    detail: dict[str, int | str] = field(default_factory=dict)

    def receipt(self, partition: Partition, stage: str, seconds: float) -> Receipt:
        return Receipt(
            table=partition.table.name,
            key=partition.key,
            stage=stage,
            generation=self.generation,
            rows=self.rows,
            bytes=self.bytes,
            seconds=round(seconds, 3),
            state=self.state,
            detail=self.detail,
        )
