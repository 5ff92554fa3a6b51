"""The chart of a page, and its numbers: everything is where its axes say it is."""

from __future__ import annotations

import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from noisepath.page.chart import chart, smoothed
from noisepath.page.words import amount, figure, plain, seconds, share, size, tick

POINTS = st.lists(st.floats(1e-20, 1e20), min_size=1, max_size=60).map(lambda ys: [(10 * i, y) for i, y in enumerate(ys, 1)])


def _drawn(points: list[tuple[int, float]], log: bool = False, smooth: bool = False) -> ElementTree.Element:
    return ElementTree.fromstring(chart(points, "loss", log=log, smooth=smooth))


def _first_path(drawn: ElementTree.Element) -> list[tuple[float, float]]:
    return _coordinates(next(drawn.iter("path")).attrib["d"])


def _coordinates(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split() for pair in path.removeprefix("M").split("L"))]


@given(POINTS, st.booleans(), st.booleans())
def test_a_curve_lies_in_its_picture_and_rises_with_the_values(points: list[tuple[int, float]], log: bool, up: bool) -> None:
    points = points if up else [(step, -value) for step, value in points]
    drawn = _drawn(points, log=log and up)
    line = _first_path(drawn)
    assert len(line) == len(points)
    for (x, y), (left, right) in zip(line, zip([None, *line], line, strict=False), strict=False):
        assert 0 <= x <= 720 and 0 <= y <= 300
        assert left is None or left[0] < right[0]
    for i in range(1, len(points)):
        if points[i][1] > points[i - 1][1]:
            assert line[i][1] <= line[i - 1][1]
    for text in drawn.iter("text"):
        assert 0 <= float(text.attrib["y"]) <= 300


@given(st.floats(1e-12, 1e12), st.floats(1.0, 1e9))
@example(518665791484.0, 2.5)
def test_an_axis_has_a_few_round_numbers_where_they_belong(low: float, ratio: float) -> None:
    high = low * ratio
    for log in (True, False):
        drawn = _drawn([(0, low), (100, high)], log=log)
        (_, bottom), (_, top) = _first_path(drawn)
        beside = [text for text in drawn.iter("text") if text.attrib["class"] == "left" and text.text != "step"]
        assert 2 <= len(beside) <= 12
        for text in beside if ratio > 1.01 else []:
            value = _number(str(text.text))
            part = math.log(value / low) / math.log(ratio) if log else (value - low) / (high - low)
            assert float(text.attrib["y"]) == pytest.approx(bottom + part * (top - bottom), abs=4.0)


def _number(words: str) -> float:
    unit = {"k": 1e3, "M": 1e6, "G": 1e9}.get(words[-1], 1.0)
    return float(words.rstrip("kMG").replace(",", "")) * unit


def test_smoothing_is_the_mean_of_the_points_around_and_keeps_a_straight_line() -> None:
    values = np.random.default_rng(0).random(200)
    points = [(i, float(value)) for i, value in enumerate(values)]
    for i, (step, value) in enumerate(smoothed(points)):
        near = min(5, i, 199 - i)
        assert step == i and value == pytest.approx(values[i - near : i + near + 1].mean())
    assert [value for _, value in smoothed([(i, 2.0 * i) for i in range(200)])] == pytest.approx([2.0 * i for i in range(200)])


def test_a_long_log_makes_a_small_chart_that_loses_no_peak() -> None:
    points = [(step, 1.0 + 0.1 * math.sin(step)) for step in range(1, 200_001)]
    points[77_777] = (77_778, 900.0)
    drawn = _drawn(points, log=True, smooth=True)
    assert len(ElementTree.tostring(drawn)) < 100_000
    raw = _first_path(drawn)
    x, y = min(raw, key=lambda place: place[1])
    assert y < 40 < 200 < sorted(y for _, y in raw)[1]
    assert (x - raw[0][0]) / (raw[-1][0] - raw[0][0]) == pytest.approx(77_778 / 200_000, abs=0.01)
    assert "Step 200,000" in json.loads(next(drawn.iter("svg")).attrib["data-points"])[-1][2]


def test_numbers_are_written_as_people_read_them() -> None:
    assert [amount(n) for n in (12, 1797, 1234567, 2.5e9)] == ["12", "1,797", "1.23 million", "2.5 billion"]
    assert [amount(n) for n in (None, "many", True)] == ["none", "many", "yes"]
    assert [seconds(s) for s in (3.14159, 90, 7200, 100_000, 200_000)] == ["3.14 s", "1.5 min", "2 h", "27.8 h", "2.31 days"]
    assert [size(b) for b in (12, 1500, 6.2e8, 1.2e9)] == ["12 bytes", "1.5 kB", "620 MB", "1.2 GB"]
    assert [share(v) for v in (0.96132, 1.0, 0, None)] == ["96.1 %", "100 %", "0 %", "none"]
    assert [figure(v) for v in (0.0, 0.96132, 12.345, 1234.5, 2e-7, -0.5, None)] == [
        "0", "0.961", "12.3", "1,234", "2.00e-07", "-0.500", "None"
    ]  # fmt: skip
    assert [tick(v) for v in (0.0, 0.3, 1200.0, 20_000.0)] == ["0", "0.3", "1,200", "20k"]
    assert [tick(v) for v in (1.5e6, 2.5e-4, 3e13)] == ["1.5M", "2.5e-4", "3e13"]
    assert [plain(v) for v in (True, None, 3e-3, [1, 8, 8], {"a": 1})] == ["yes", "none", "0.003", "1, 8, 8", "a 1"]
