"""Lines over a common horizontal axis, one panel for each measure. This file must not know what is measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

NAMED = 6
"""Faint lines that can still be told apart by their colour; more of them are grey, and named together."""

DOTTED = 25
"""Points of a line that are few enough to be marked one by one."""


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        name: what the legend says.
        points: pairs (x, y); where y is not finite the line has a gap.
        bold: one that the picture is about; any other is faint.
    """

    name: str
    points: Sequence[tuple[float, float]]
    bold: bool = False


def lines(
    panels: Mapping[str, Sequence[Line]],
    *,
    x: str = "round",
    y: str = "",
    goal: float | None = None,
    others: str = "others",
) -> Figure:
    """A panel for each measure, side by side, with one legend for all of them.

    A line has the same colour in every panel. More than six faint lines are all grey, with one entry in the legend.

    Args:
        panels: the lines of each measure, by its name.
        x: what the horizontal axis counts.
        y: what is measured in all of them, where panels are named by what their horizontal axes count instead.
        goal: where a horizontal line is drawn.
        others: what the legend calls many faint lines together, such as "owners".

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    from hansa.plots.figure import INK, clipped, dress, picture, verbatim, whole

    columns = 2 if len(panels) == 4 else min(len(panels), 3) or 1
    rows = math.ceil(len(panels) / columns) or 1
    made = picture(0.6 + 4.4 * columns + (1.6 if columns == 1 else 0.9), 3.3 * rows)
    grid = made.subplots(rows, columns, squeeze=False)
    colours = _colours([line for each in panels.values() for line in each])
    drawn: dict[str, Line2D] = {}
    for axes, (name, each) in zip(grid.flat, panels.items(), strict=False):
        for line in sorted(each, key=lambda line: line.bold):
            found = _draw(axes, line, colours.get(line.name))
            drawn.setdefault(line.name if line.bold or line.name in colours else others, found)
        if goal is not None:
            axes.axhline(goal, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        dress(axes, x=name if y else x, y=y or name, grid="y")
        whole(axes.xaxis, 8)
        axes.margins(x=0.03, y=0.08)
    for unused in list(grid.flat)[len(panels) :]:
        unused.remove()
    if len(drawn) > 1:
        first = sorted(drawn.items(), key=lambda pair: not _is_bold(pair[1]))
        legend = made.legend(
            [handle for _, handle in first],
            [verbatim(clipped(name, 28)) for name, _ in first],
            loc="outside right upper",
            frameon=False,
            fontsize=9,
            labelcolor=INK,
        )
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1)
    return made


def _colours(every: Sequence[Line]) -> dict[str, str]:
    """The colour of each line by name; a name that is left out is one of many, and grey."""
    from hansa.plots.figure import COLOURS

    bold = list(dict.fromkeys(line.name for line in every if line.bold))
    faint = [name for name in dict.fromkeys(line.name for line in every) if name not in bold]
    named = [*bold, *(faint if len(faint) <= NAMED else [])]
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(named)}


def _draw(axes: Axes, line: Line, colour: str | None) -> Line2D:
    from hansa.plots.figure import FAINT

    points = [(x, y if math.isfinite(y) else math.nan) for x, y in line.points]
    axes.update_datalim([(x, 0) for x, _ in points], updatey=False)  # rounds without a value belong to the axis too
    mark = "o" if len(points) <= (DOTTED if line.bold else 1) else ""
    (drawn,) = axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=colour or FAINT,
        linewidth=2.4 if line.bold else 1.2,
        alpha=1.0 if line.bold else 0.55 if colour else 0.3,
        marker=mark,
        markersize=4,
        zorder=3 if line.bold else 2,
        solid_capstyle="round",
    )
    return drawn


def _is_bold(line: Line2D) -> bool:
    return line.get_linewidth() > 2
