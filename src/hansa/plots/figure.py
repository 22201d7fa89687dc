"""The figure that every picture is drawn on, and what they have in common: size, ink and colours.

This file must not know what is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from hansa.errors import MissingExtra

try:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator
except ImportError as missing:
    raise MissingExtra.of("matplotlib", "plot", "a plot") from missing

INK, FAINT, GRID = "#222222", "#767676", "#e3e3e3"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Told apart by the colour-blind (Okabe and Ito 2008, "Color Universal Design"); without its yellow, too pale for lines."""

WRONG = "#d55e00"
SHARP = 2
"""Pixels of a notebook's picture for each of the screen's points."""


class Picture(Figure):
    """A Figure that shows itself in a notebook, also where pyplot was never imported."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The bytes of a PNG, and the width and height at which a page shows it."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=SHARP * self.dpi)
        width, height = (round(inches * self.dpi) for inches in self.get_size_inches())
        return file.getvalue(), {"width": width, "height": height}


def picture(width: float, height: float) -> Picture:
    """An empty figure on a white ground, its parts placed so that none overlaps another.

    Args:
        width: in inches.
        height: in inches.
    """
    made = Picture(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")
    FigureCanvasAgg(made)
    return made


def dress(axes: Axes, *, x: str = "", y: str = "", title: str = "", grid: str | None = None) -> None:
    """Plain axes: no box around them, quiet ticks, an optional grid ("x", "y" or "both") behind what is drawn."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=FAINT, labelcolor=INK, labelsize=9)
    axes.set_xlabel(verbatim(x), color=INK, fontsize=10)
    axes.set_ylabel(verbatim(y), color=INK, fontsize=10)
    axes.set_title(verbatim(title), color=INK, fontsize=10.5, loc="left")
    axes.set_axisbelow(True)
    if grid is not None:
        which: Any = grid
        axes.grid(axis=which, color=GRID, linewidth=0.8)


def swatches(figure: Figure, colours: Mapping[str, Any]) -> None:
    """A legend above everything: what each colour means."""
    patches = [Patch(color=colour) for colour in colours.values()]
    place: Any = "outside upper center"
    figure.legend(patches, list(colours), loc=place, ncols=len(patches), frameon=False, fontsize=9, labelcolor=INK)


def whole(axis: Axis, most: int) -> None:
    """At most so many ticks, at whole numbers that are easy to count by."""
    axis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 5, 10], integer=True))


def verbatim(text: object) -> str:
    """A text of somebody else's as it is read: a dollar sign begins no formula, and what has no glyph is left out."""
    return "".join(each if each.isprintable() or each == "\n" else "\ufffd" for each in str(text)).replace("$", r"\$")


def shortened(text: object, most: int) -> str:
    """The beginning of a text of more than `most` characters, with an ellipsis; always one line."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def clipped(name: str, most: int) -> str:
    """A name of more than `most` characters without its middle: names often differ at their end."""
    line = " ".join(name.split())
    return line if len(line) <= most else f"{line[: most // 2]}…{line[most // 2 + 1 - most :]}"
