"""The test message that shows that a channel works."""

from __future__ import annotations

from datetime import UTC, datetime

from kpc.ledger import AlertMessage
from kpc.ledger.states import AlertEvent, DeliveryState


def trial_message(channel: str) -> AlertMessage:
    now = datetime.now(UTC)
    body = (
        f"The migration's alerts arrive by {channel}.\nNothing is wrong, and there is nothing to do.\n"
        "Open alerts: `kpc alerts list`."
    )
    facts = {"event": "test", "told_utc": now.isoformat(timespec="seconds")}
    return AlertMessage(
        0, 0, AlertEvent.OPENED, channel, "A test of the migration's alerts", body, facts, DeliveryState.PENDING, 1,
        now, None, None,
    )  # fmt: skip
