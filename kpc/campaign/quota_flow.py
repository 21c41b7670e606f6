"""How long sending rows takes without a pause, as fast as the org and a rolling 24 h of quota allow."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence

from kpc.campaign.simulated_org import DAY_S

MOST_DAYS = 60
_STEP_S = 60.0


def sending_s(
    rows: float,
    rows_per_s: float,
    allowed: Callable[[float], float],
    sent_before: Sequence[tuple[float, float]] = (),
) -> float:
    """Seconds until the last of `rows` is sent; infinite if that takes more than `MOST_DAYS`.

    `allowed` says how many rows the 24 h before a moment may hold, `sent_before` how many seconds ago rows were sent
    that still count.
    """
    window: deque[float] = deque([0.0] * int(DAY_S / _STEP_S), maxlen=int(DAY_S / _STEP_S))
    for age_s, count in sent_before:
        if 0 <= age_s < DAY_S:
            window[-1 - int(age_s / _STEP_S)] += count
    in_window = sum(window)
    total = 0.0
    for step in itertools.count():
        now_s = step * _STEP_S
        in_window -= window[0]
        now = max(0.0, min(rows_per_s * _STEP_S, allowed(now_s) - in_window, rows - total))
        window.append(now)
        in_window, total = in_window + now, total + now
        if total >= rows - 1e-6:
            return now_s + now / rows_per_s
        if now_s > MOST_DAYS * DAY_S:
            break
    return float("inf")
