"""Running the compared programs in turn, so that a busy moment of the machine affects all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from kpc.bench.processes import Cost

Costs = dict[str, list[Cost]]
Measure = Callable[[Cost], float]


def cpu_s(cost: Cost) -> float:
    return cost.cpu_s


def wall_s(cost: Cost) -> float:
    return cost.wall_s


def take_turns(contestants: Mapping[str, Callable[[], Cost]], rounds: int, say: Callable[[str], None]) -> Costs:
    """Run every contestant once per round, in reverse order every other round. Prints a progress line for each."""
    costs: Costs = {name: [] for name in contestants}
    for number in range(rounds):
        for name, measure in list(contestants.items())[:: 1 if number % 2 == 0 else -1]:
            cost = measure()
            costs[name].append(cost)
            say(f"  {name}: {cost.wall_s:.2f} s, {cost.cpu_s:.2f} s CPU, peak {cost.peak_bytes / 1e6:.0f} MB")
    return costs


def ratio(costs: Sequence[Cost], to: Sequence[Cost], measure: Measure) -> float:
    """The median, over the rounds, of one contestant's cost divided by another's."""
    return median(measure(one) / measure(other) for one, other in zip(costs, to, strict=True))
