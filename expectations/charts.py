"""Charts of the campaign as inline SVG, without scripts or files, with the numbers in words beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from markupsafe import Markup

from expectations.campaign_facts import StageSeries, Timeline
from expectations.wording import figure, moment
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, SF_LOADED, STAGED_CSV

_WIDTH, _HEIGHT, _TOP = 600, 120, 2
_NAMES = {ORACLE_EXTRACT: "extracted", STAGED_CSV: "staged", SF_LOADED: "loaded", RECONCILED: "reconciled"}


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing with its title, the ends of its axes and a sentence with the same content."""

    title: str
    drawing: Markup
    summary: str
    most: str
    first: str
    last: str


def charts_of(timeline: Timeline) -> list[Chart]:
    """The partitions that have passed the stages, and the rows per second of each stage."""
    return [
        _progress(timeline),
        *(_throughput(timeline, series) for series in timeline.stages if any(series.rows_per_s)),
    ]


def _progress(timeline: Timeline) -> Chart:
    shown = [series for series in timeline.stages if series.stage in (SF_LOADED, RECONCILED)]
    most = max(timeline.planned, *(max(series.partitions) for series in shown))
    lines = Markup("").join(_line(series, most) for series in shown)
    planned = _rule(timeline.planned, most) if timeline.planned else Markup("")
    parts = [f"{figure(series.partitions[-1])} {_NAMES[series.stage]}" for series in shown]
    of = f" of {figure(timeline.planned)} planned" if timeline.planned else ""
    summary = f"Partitions: {', '.join(parts)}{of}. The dashed line is loaded, the solid one reconciled."
    return _chart(timeline, "Progress", most, planned + lines, summary)


def _throughput(timeline: Timeline, series: StageSeries) -> Chart:
    most = max(series.rows_per_s)
    busy = [each for each in series.rows_per_s if each]
    summary = (
        f"Rows {_NAMES[series.stage]} per second, over {_span(timeline.interval_s)} each: at most {figure(int(most))}, "
        f"{figure(int(sum(busy) / len(busy)))} on average while the stage ran."
    )
    name = _NAMES[series.stage].capitalize()
    return _chart(timeline, f"{name}, rows per second", most, Markup("").join(_bars(series.rows_per_s, most)), summary)


def _chart(timeline: Timeline, title: str, most: float, marks: Markup, summary: str) -> Chart:
    drawing = Markup(
        '<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}" preserveAspectRatio="none" class="chart">'
        "{marks}</svg>"
    ).format(width=_WIDTH, height=_HEIGHT, label=f"{title}. {summary}", marks=marks)
    end = timeline.start_utc + timedelta(seconds=timeline.interval_s * len(timeline.stages[0].partitions))
    return Chart(title, drawing, summary, _short(most), moment(timeline.start_utc)[:16], moment(end)[:16])


def _line(series: StageSeries, most: float) -> Markup:
    points = [f"0 {_y(0, most)}"]
    points += [f"{_x(at + 1, len(series.partitions))} {_y(n, most)}" for at, n in enumerate(series.partitions)]
    return Markup('<path class="line {stage}" d="M{points}"/>').format(stage=series.stage, points="L".join(points))


def _rule(value: float, most: float) -> Markup:
    return Markup('<path class="planned" d="M0 {y}H{width}"/>').format(y=_y(value, most), width=_WIDTH)


def _bars(values: Sequence[float], most: float) -> Iterator[Markup]:
    width = _WIDTH / len(values)
    for at, value in enumerate(values):
        if value:
            y = _y(value, most)
            yield Markup('<rect class="bar" x="{x}" y="{y}" width="{width}" height="{height}"/>').format(
                x=_x(at, len(values)), y=y, width=round(max(1.0, width * 0.85), 1), height=round(_HEIGHT - y, 1)
            )


def _x(at: int, count: int) -> float:
    return round(_WIDTH * at / count, 1)


def _y(value: float, most: float) -> float:
    return round(_HEIGHT - (_HEIGHT - _TOP) * value / (most or 1), 1)


def _short(value: float) -> str:
    """A number for the axis in at most five characters."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if value >= 10 * unit:
            return f"{value / unit:.0f}{name}"
        if value >= unit:
            return f"{value / unit:.1f}{name}"
    return f"{value:.0f}"


def _span(seconds: int) -> str:
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds % unit == 0:
            count = seconds // unit
            return f"{count} {name}" if count == 1 else f"{count} {name}s"
    return f"{seconds} seconds"
