"""Charts of the report: numbers in, inline SVG out. Colours come from the page's stylesheet.

Drawn by hand rather than by a plotting library: inline SVG follows the page's light and dark colours
and its font, and a chart is 2 kB. One SVG unit is one CSS pixel at a chart's natural width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from udml.evaluation.intervals import Estimate

WIDTH_PX = 320
HEIGHT_PX = 176
MISSING = "\N{EN DASH}"  # where a number would stand
_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 44, 12, 14, 30


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: shown in the legend where a chart has several lines.
        x, y: same length; a None or non-finite y leaves a gap.
        style: CSS class of the line: "trained", "frozen" or "second".
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    style: str = "trained"

    def points(self) -> list[tuple[float, float]]:
        """The pairs that can be drawn."""
        return [(x, y) for x, y in zip(self.x, self.y, strict=True) if y is not None and math.isfinite(y)]


@dataclass(frozen=True)
class _Axes:
    """Maps data ranges to the plot area of one chart."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        span = self.x_high - self.x_low or 1.0
        return _LEFT_PX + (value - self.x_low) / span * (WIDTH_PX - _LEFT_PX - _RIGHT_PX)

    def y(self, value: float) -> float:
        span = self.y_high - self.y_low or 1.0
        return HEIGHT_PX - _BOTTOM_PX - (value - self.y_low) / span * (HEIGHT_PX - _TOP_PX - _BOTTOM_PX)


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that cover `low`..`high`, at least two."""
    if high - low <= 1e-9 * max(abs(low), abs(high), 1.0):  # level, but for rounding
        pad = 0.1 * abs(low) if abs(low) > 1e-6 else 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def number(value: float) -> str:
    """A short form of any number: 12,000 / 340 / 3.2 / 0.047."""
    if not math.isfinite(value):
        return MISSING
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def line_chart(
    label: str, series: Sequence[Series], picked_x: float | None = None, x_name: str = "step"
) -> str:
    """A line per series over a shared x axis; a vertical mark where `picked_x` is.

    Args:
        label: what the chart shows, read out by screen readers.
        series: at least one; with nothing to draw, a sentence stands in for the chart.
        picked_x: where to set the mark, in x units.
        x_name: unit of the x axis.
    """
    drawn = [(one, one.points()) for one in series]
    points = [point for _, found in drawn for point in found]
    if not points:
        return '<p class="nothing">Nothing was recorded.</p>'
    y_ticks = ticks(min(y for _, y in points), max(y for _, y in points))
    x_low, x_high = min(min(one.x) for one in series), max(max(one.x) for one in series)
    x_ticks = ticks(x_low, x_high)
    axes = _Axes(x_low, x_high, y_ticks[0], y_ticks[-1])
    parts = _grid(axes, y_ticks, [tick for tick in x_ticks if axes.x_low <= tick <= axes.x_high], x_name)
    if picked_x is not None:
        parts.append(_picked_mark(axes, picked_x))
    for one, found in drawn:
        path = " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in found)
        parts.append(f'<polyline class="line {one.style}" points="{path}"/>')
        parts.extend(_dot(axes, x, y, one, x_name) for x, y in found)
    return svg(label, WIDTH_PX, HEIGHT_PX, parts) + _legend([one for one, found in drawn if found])


def _dot(axes: _Axes, x: float, y: float, one: Series, x_name: str) -> str:
    tip = f"{one.name}: {number(y)} at {x_name} {number(x)}"
    at = f'cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}"'
    return f'<circle class="dot {one.style}" {at} r="2.5"><title>{escape(tip)}</title></circle>'


def _grid(axes: _Axes, y_ticks: Sequence[float], x_ticks: Sequence[float], x_name: str) -> list[str]:
    parts = []
    for tick in y_ticks:
        y = axes.y(tick)
        parts.append(
            f'<line class="grid" x1="{_LEFT_PX}" x2="{WIDTH_PX - _RIGHT_PX}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(
            f'<text class="tick" text-anchor="end" x="{_LEFT_PX - 7}" y="{y + 4:.1f}">{number(tick)}</text>'
        )
    for index, tick in enumerate(x_ticks):
        name = f" {x_name}" if index == len(x_ticks) - 1 else ""
        anchor = "end" if name and axes.x(tick) > WIDTH_PX - 3 * _LEFT_PX else "middle"
        at = f'x="{axes.x(tick) + (10 if anchor == "end" else 0):.1f}" y="{HEIGHT_PX - _BOTTOM_PX + 18}"'
        parts.append(f'<text class="tick" text-anchor="{anchor}" {at}>{number(tick)}{escape(name)}</text>')
    return parts


def _picked_mark(axes: _Axes, picked_x: float) -> str:
    x = axes.x(min(max(picked_x, axes.x_low), axes.x_high))
    anchor = "end" if x > WIDTH_PX / 2 else "start"
    text_x = x - 5 if anchor == "end" else x + 5
    line = (
        f'<line class="picked" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP_PX - 8}" y2="{HEIGHT_PX - _BOTTOM_PX}"/>'
    )
    return (
        line
        + f'<text class="picked-name" text-anchor="{anchor}" x="{text_x:.1f}" y="{_TOP_PX - 1}">picked</text>'
    )


def _legend(series: Sequence[Series]) -> str:
    if len(series) < 2:
        return ""
    items = "".join(f'<li class="{one.style}">{escape(one.name)}</li>' for one in series)
    return f'<ul class="legend">{items}</ul>'


def histogram(label: str, edges: Sequence[int], counts: Sequence[int]) -> str:
    """Bars of equal width, one per bin of whole numbers; a bin is named by the smallest number in it.

    Args:
        label: what the chart shows, read out by screen readers.
        edges: len(counts) + 1 ascending whole numbers; bin i holds edges[i] <= value < edges[i + 1].
        counts: how many fall into each bin.
    """
    if not counts or sum(counts) == 0:
        return '<p class="nothing">Nothing was recorded.</p>'
    y_ticks = ticks(0, max(counts), 3)
    axes = _Axes(0, len(counts), 0, y_ticks[-1])
    parts = _grid(axes, y_ticks, [], "")
    every = math.ceil(len(counts) / 10)
    for index, (count, low, high) in enumerate(zip(counts, edges[:-1], edges[1:], strict=True)):
        left, right, top = axes.x(index) + 2, axes.x(index + 1) - 2, axes.y(count)
        bin_name = number(low) if high == low + 1 else f"{number(low)}+"
        tip = f"{count:,} of {number(low)}" + ("" if high == low + 1 else f" to {number(high - 1)}")
        size = f'width="{max(right - left, 1):.1f}" height="{HEIGHT_PX - _BOTTOM_PX - top:.1f}"'
        rect = f'<rect class="bar" rx="1.5" x="{left:.1f}" y="{top:.1f}" {size}>'
        parts.append(f"{rect}<title>{escape(tip)}</title></rect>")
        if index % every == 0:
            at = f'x="{(left + right) / 2:.1f}" y="{HEIGHT_PX - _BOTTOM_PX + 18}"'
            parts.append(f'<text class="tick" text-anchor="middle" {at}>{bin_name}</text>')
    return svg(label, WIDTH_PX, HEIGHT_PX, parts)


def range_plot(label: str, frozen: Estimate, trained: Estimate, low: float, high: float) -> str:
    """Two values with their intervals on one line from `low` to `high`: hollow is frozen, full is trained."""
    width, height, edge = 200, 30, 8
    span = high - low or 1.0

    def x(value: float) -> float:
        return edge + (min(max(value, low), high) - low) / span * (width - 2 * edge)

    parts = [f'<line class="grid" x1="{edge}" x2="{width - edge}" y1="{height / 2}" y2="{height / 2}"/>']
    for estimate, style, y in ((frozen, "frozen", height / 2 - 5), (trained, "trained", height / 2 + 5)):
        if not math.isfinite(estimate.value):
            continue
        if math.isfinite(estimate.low) and math.isfinite(estimate.high):
            ends = f'x1="{x(estimate.low):.1f}" x2="{x(estimate.high):.1f}"'
            parts.append(f'<line class="whisker {style}" {ends} y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="dot {style}" cx="{x(estimate.value):.1f}" cy="{y}" r="4"/>')
    return svg(label, width, height, parts, "range")


def svg(label: str, width: int, height: int, parts: Sequence[str], style: str = "chart") -> str:
    """Wrap drawn parts as an image with a name."""
    opening = f'<svg class="{style}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
    return opening + "".join(parts) + "</svg>"
