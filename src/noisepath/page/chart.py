"""A line chart as SVG: one measured value over the steps of a run, raw and smoothed.

Colours come from the page's style sheet.  ``data-points`` holds what a small script shows while a pointer moves over the
chart; without it the chart is the same picture.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from noisepath.page.elements import Html, element, join
from noisepath.page.words import figure, tick

__all__ = ["chart", "smoothed"]

WIDTH, BINS = 720.0, 480
LEFT, RIGHT, TOP, BOTTOM = 78.0, 36.0, 14.0, 42.0

Point = tuple[int, float]


@dataclass(frozen=True)
class Axes:
    """From (step, value) to the place in the picture."""

    steps: tuple[float, float]
    values: tuple[float, float]
    log: bool
    height: float

    def x(self, step: float) -> float:
        first, last = self.steps
        return LEFT + (WIDTH - LEFT - RIGHT) * ((step - first) / (last - first))

    def y(self, value: float) -> float:
        low, high = (self._scaled(end) for end in self.values)
        return self.height - BOTTOM - (self.height - TOP - BOTTOM) * ((self._scaled(value) - low) / (high - low))

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.log else value


def chart(points: Sequence[Point], what: str, *, height: int = 300, log: bool = False, smooth: bool = False) -> Html:
    """``points`` are (step, value) in order of their steps, at least one; a logarithmic axis needs positive values."""
    log = log and all(value > 0 for _, value in points)
    shown = smoothed(points) if smooth else list(points)
    axes = Axes(_span(points[0][0], points[-1][0]), _range([value for _, value in points], log), log, height)
    parts = [_frame(axes)]
    if smooth:
        parts.append(element("path", d=_path(_extremes(points), axes), class_="raw"))
    parts.append(element("path", d=_path(_thinned(shown), axes), class_="line"))
    if len(points) == 1:
        parts.append(element("circle", cx=_at(axes.x(points[0][0])), cy=_at(axes.y(points[0][1])), r=3, class_="dot"))
    parts.append(element("line", x1=0, x2=0, y1=TOP, y2=height - BOTTOM, class_="cursor", visibility="hidden"))
    parts.append(element("circle", r=4.5, class_="dot", visibility="hidden"))
    (first, start), (last, end) = shown[0], shown[-1]
    words = f"{what.capitalize()} from {figure(start)} at step {first:,} to {figure(end)} at step {last:,}"
    picture = element(
        "svg", *parts, viewBox=f"0 0 {WIDTH:g} {height}", role="img", aria_label=words, tabindex=0,
        data_points=_readings(points, shown, axes, what, smooth),
    )  # fmt: skip
    return element("div", picture, element("output", words, class_="reading"), class_="chart")


def smoothed(points: Sequence[Point], share: float = 0.05) -> list[Point]:
    """Each value as the mean over ``share`` of the points, half of them before it and half after; less at the ends."""
    reach = round(share * len(points) / 2)
    sums = [0.0]
    for _, value in points:
        sums.append(sums[-1] + value)
    means = []
    for i, (step, _) in enumerate(points):
        near = min(reach, i, len(points) - 1 - i)
        means.append((step, (sums[i + near + 1] - sums[i - near]) / (2 * near + 1)))
    return means


def _span(first: float, last: float) -> tuple[float, float]:
    return (first, last) if last > first else (first - 1, first + 1)


def _range(values: Sequence[float], log: bool) -> tuple[float, float]:
    """The ends of the upright axis: all values, and a little air."""
    low, high = min(values), max(values)
    if log:
        air = max((high / low) ** 0.04, 1.01)
        return low / air, high * air
    air = 0.05 * (high - low) or abs(high) * 0.1 or 1.0
    return (0.0 if 0 <= low < 0.5 * high else low - air), high + air


def _frame(axes: Axes) -> Html:
    """Grid lines and the numbers beside them."""
    parts = []
    bottom = axes.height - BOTTOM
    for value in _log_ticks(*axes.values) if axes.log else _ticks(*axes.values, 5):
        y = _at(axes.y(value))
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(element("text", tick(value), x=LEFT - 10, y=y, class_="left"))
    for step in _ticks(*axes.steps, 6):
        if step == int(step):
            parts.append(element("text", tick(step), x=_at(axes.x(step)), y=bottom + 24, class_="below"))
    parts.append(element("text", "step", x=LEFT - 10, y=bottom + 24, class_="left"))
    return join(parts)


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from low to high, ``about`` so many."""
    rough = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = 1 - math.floor(math.log10(step))
    return [round(i * step, digits) for i in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with as many of their multiples between them as it takes; over a narrow range round numbers."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = math.ceil(len(decades) / 8)
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 6)):
        found = [factor * 10.0**decade for decade in decades[::every] for factor in factors]
        if len(inside := [value for value in found if low <= value <= high]) >= 4:
            return inside
    return next(found for about in (4, 6, 12) if len(found := _ticks(low, high, about)) >= 3)  # 12 steps have 3 in any place


def _bins(points: Sequence[Point]) -> list[Sequence[Point]]:
    width = math.ceil(len(points) / BINS)
    return [points[i : i + width] for i in range(0, len(points), width)]


def _thinned(points: Sequence[Point]) -> list[Point]:
    """At most so many points as can be told apart; the last one stays."""
    return [part[0] for part in _bins(points)][:-1] + [points[-1]]


def _extremes(points: Sequence[Point]) -> list[Point]:
    """The lowest and the highest of each bin, in order: no peak is lost."""
    kept = []
    for part in _bins(points):
        kept += sorted({min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])})
    return kept


def _path(points: Sequence[Point], axes: Axes) -> str:
    return "M" + "L".join(f"{_at(axes.x(step))} {_at(axes.y(value))}" for step, value in points)


def _readings(points: Sequence[Point], shown: Sequence[Point], axes: Axes, what: str, smooth: bool) -> str:
    """[x, y, words] of the points that a pointer finds."""
    values = dict(points)
    found = []
    for step, value in _thinned(shown):
        words = f"Step {step:,}: {what} {figure(values[step])}" + (f", smoothed {figure(value)}" if smooth else "")
        found.append([round(axes.x(step), 1), round(axes.y(value), 1), words])
    return json.dumps(found, separators=(",", ":"))


def _at(place: float) -> str:
    return f"{place:.1f}"
