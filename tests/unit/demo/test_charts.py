"""The report's line charts: points lie where they should, and labels do not cover each other."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.demo.charts import Frame, Point, line_chart

FRAME = Frame(x_max=40, y_max=1.0)
BOTTOM, TOP = FRAME.height - FRAME.bottom, FRAME.top
LINE = 12
"""A label's height: the page's font size for pictures."""


def drawn(series: Mapping[str, Sequence[Point]], *, y_max: float = 1.0, percent: bool = True) -> ET.Element:
    return ET.fromstring(line_chart("A title", series, y_max=y_max, percent=percent))  # noqa: S314 - our own text


def curves(picture: ET.Element) -> dict[str, list[Point]]:
    """The points of each line, by the line's class."""
    found = {}
    for group in picture.iter("g"):
        line = group.find("polyline")
        assert line is not None
        pairs = (pair.split(",") for pair in line.attrib["points"].split())
        found[group.attrib["class"]] = [(float(x), float(y)) for x, y in pairs]
    return found


def labels(picture: ET.Element) -> dict[str, Point]:
    """Where each line's label stands."""
    return {
        text.text or "": (float(text.attrib["x"]), float(text.attrib["y"]))
        for group in picture.iter("g")
        for text in group.iter("text")
    }


def ticks(picture: ET.Element) -> list[str]:
    return [text.text or "" for text in picture.iter("text") if text.get("class") == "tick"]


def test_the_corners_of_the_values_are_the_corners_of_the_plot() -> None:
    assert FRAME.place((0, 0)) == (FRAME.left, BOTTOM)
    assert FRAME.place((40, 1.0)) == (FRAME.width - FRAME.right, TOP)
    assert FRAME.place((20, 0.5)) == ((FRAME.left + FRAME.width - FRAME.right) / 2, (BOTTOM + TOP) / 2)


def test_a_value_above_the_axis_is_drawn_at_the_edge() -> None:
    assert FRAME.place((20, 9.0)) == FRAME.place((20, 1.0))


def test_a_line_goes_through_its_points() -> None:
    series = {"alice": [(1, 0.1), (20, 0.5), (40, 0.9)], "bob": [(1, 0.2), (40, 0.2)]}
    found = curves(drawn(series))
    assert list(found) == ["line-alice", "line-bob"]
    for name, points in series.items():
        expected = [FRAME.place(point) for point in points]
        assert found[f"line-{name}"] == [pytest.approx(point, abs=0.06) for point in expected]


def test_the_horizontal_axis_ends_at_the_last_round_of_any_line() -> None:
    found = curves(drawn({"short": [(1, 0.5)], "long": [(1, 0.5), (8, 0.5)]}))
    assert found["line-long"][-1][0] == FRAME.width - FRAME.right
    assert found["line-short"][0][0] == found["line-long"][0][0]


def test_a_few_points_are_marked_and_many_are_not() -> None:
    few = drawn({"a": [(x, 0.5) for x in range(12)]})
    many = drawn({"a": [(x, 0.5) for x in range(13)]})
    assert len(list(few.iter("circle"))) == 12
    assert list(many.iter("circle")) == []


def test_a_line_without_points_is_left_out() -> None:
    found = curves(drawn({"nothing": [], "something": [(1, 0.5), (2, 0.6)]}))
    assert list(found) == ["line-something"]
    assert list(labels(drawn({"nothing": [], "something": [(1, 0.5), (2, 0.6)]}))) == ["something"]


@pytest.mark.parametrize("series", [{}, {"nothing": []}, {"origin": [(0, 0.5)]}])
def test_a_chart_of_next_to_nothing_still_has_its_axes(series: dict[str, list[Point]]) -> None:
    picture = drawn(series)
    assert "100%" in ticks(picture)
    assert "round" in ticks(picture)
    assert len(list(picture.iter("polyline"))) == len(series.get("origin", []))


def test_the_vertical_axis_is_written_as_asked() -> None:
    assert ticks(drawn({"a": [(5, 0.5)]}))[:6] == ["0%", "20%", "40%", "60%", "80%", "100%"]
    assert ticks(drawn({"a": [(5, 0.5)]}, y_max=2.5, percent=False))[:6] == ["0", "0.5", "1", "1.5", "2", "2.5"]


@pytest.mark.parametrize(("last", "written"), [(1, 2), (5, 6), (10, 11), (11, 6), (40, 9), (100, 11), (500, 11)])
def test_the_horizontal_axis_counts_in_round_steps_and_stays_readable(last: int, written: int) -> None:
    numbers = [int(tick) for tick in ticks(drawn({"a": [(last, 0.5)]})) if tick.isdigit()]
    assert len(numbers) == written
    assert numbers[0] == 0
    assert len({b - a for a, b in pairwise(numbers)}) == 1


def test_labels_stand_right_of_their_lines_ends() -> None:
    series = {"alice": [(1, 0.1), (40, 0.9)], "bob": [(1, 0.5), (20, 0.2)]}
    picture = drawn(series)
    for name, points in series.items():
        x, y = FRAME.place(points[-1])
        assert labels(picture)[name] == pytest.approx((x + 9, y + 4), abs=0.06)


@given(st.lists(st.integers(0, 150), min_size=1, max_size=12))
def test_labels_never_overlap_stay_in_the_picture_and_keep_their_lines_order(percents: list[int]) -> None:
    ends = {f"line{number}": min(percent / 100, 1.0) for number, percent in enumerate(percents)}
    heights = {name: y for name, (_, y) in labels(drawn({name: [(10.0, y)] for name, y in ends.items()})).items()}
    downwards = sorted(heights, key=heights.__getitem__)
    assert all(heights[below] - heights[above] >= LINE for above, below in pairwise(downwards))
    assert [ends[name] for name in downwards] == sorted(ends.values(), reverse=True)
    assert min(heights.values()) >= LINE
    assert max(heights.values()) <= FRAME.height - LINE


def test_titles_and_names_are_escaped() -> None:
    picture = line_chart('a < b & "c"', {"<x>": [(1, 0.5)]}, y_max=1.0, percent=True, x_title="<rounds>")
    parsed = ET.fromstring(picture)  # noqa: S314 - our own text
    assert parsed.attrib["aria-label"] == 'a < b & "c"'
    assert list(labels(parsed)) == ["<x>"]
    assert "<rounds>" in ticks(parsed)
    assert re.search("<x>|<rounds>", picture) is None
