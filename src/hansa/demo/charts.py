"""Line charts as SVG text, for a page that must stand on its own without a script or a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

Point = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """The plot's place in the picture and the values that it spans."""

    x_max: float
    y_max: float
    width: int = 640
    height: int = 300
    left: int = 52
    right: int = 96
    top: int = 12
    bottom: int = 36

    def place(self, point: Point) -> tuple[float, float]:
        """Where a point lies, in the picture's units."""
        x, y = point
        across, down = self.width - self.left - self.right, self.height - self.top - self.bottom
        return self.left + across * x / self.x_max, self.top + down * (1 - min(y / self.y_max, 1.0))


def line_chart(
    title: str, series: Mapping[str, Sequence[Point]], *, y_max: float, percent: bool, x_title: str = "round"
) -> str:
    """An SVG picture of several lines, each labelled at its right end; points above `y_max` are drawn at the edge.

    Args:
        title: read aloud to those who do not see the picture.
        series: points by name; a line's class is "line-NAME", for the page to colour.
        y_max: the upper end of the vertical axis, which begins at 0.
        percent: write the vertical axis in percent.
        x_title: what the horizontal axis counts.
    """
    x_max = max((x for points in series.values() for x, _ in points), default=1) or 1
    frame = Frame(x_max, y_max)
    parts = [f'<svg viewBox="0 0 {frame.width} {frame.height}" role="img" aria-label="{escape(title)}">']
    parts += _axes(frame, percent=percent, x_title=x_title)
    label_heights = _spread(
        [frame.place(points[-1])[1] for points in series.values() if points], frame.place((0, 0))[1]
    )
    for (name, points), label_y in zip(((n, p) for n, p in series.items() if p), label_heights, strict=True):
        placed = [frame.place(point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<g class="line-{escape(name)}"><polyline points="{path}"/>')
        if len(placed) <= 12:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in placed]
        parts.append(f'<text x="{placed[-1][0] + 9:.1f}" y="{label_y + 4:.1f}">{escape(name)}</text></g>')
    return "\n".join([*parts, "</svg>"])


def _axes(frame: Frame, *, percent: bool, x_title: str) -> list[str]:
    parts = []
    for step in range(6):
        value = frame.y_max * step / 5
        x0, y = frame.place((0, value))
        x1, _ = frame.place((frame.x_max, value))
        text = f"{value:.0%}" if percent else f"{value:g}"
        parts.append(f'<line class="grid" x1="{x0:.1f}" y1="{y:.1f}" x2="{x1:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{x0 - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    stride = next(s for s in (1, 2, 5, 10, 20, 50, 100, 10**9) if frame.x_max / s <= 10)
    for tick in range(0, int(frame.x_max) + 1, stride):
        x, y = frame.place((tick, 0))
        parts.append(f'<text class="tick" x="{x:.1f}" y="{y + 17:.1f}" text-anchor="middle">{tick}</text>')
    x, y = frame.place((frame.x_max / 2, 0))
    parts.append(f'<text class="tick" x="{x:.1f}" y="{y + 32:.1f}" text-anchor="middle">{escape(x_title)}</text>')
    return parts


def _spread(heights: Sequence[float], lowest: float, gap: float = 15) -> list[float]:
    """The heights moved apart, in their order from top to bottom, so that labels do not overlap; none below `lowest`."""
    placed, order = list(heights), sorted(range(len(heights)), key=heights.__getitem__)
    for above, this in pairwise(order):
        placed[this] = max(placed[this], placed[above] + gap)
    for this in reversed(order):
        placed[this] = lowest = min(placed[this], lowest)
        lowest -= gap
    return placed
