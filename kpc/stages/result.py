"""The result of a stage run: what it made, how much, and how long it took."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class StageResult:
    """A recorded stage run of one partition; `seconds` of wall time.

    `state` is `done`, `rolled_back` or, for stage `reconciled`, the comparison's result.
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
