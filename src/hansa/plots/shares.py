"""Who holds how much of what: a grid of counts with the totals above it. This file must not know who, nor of what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Counts = np.ndarray[Any, np.dtype[np.int64]]

WRITTEN = 24
"""Columns that leave room for the numbers in their cells."""

TOTAL = "#8aa4bd"
"""A quiet blue: the totals are not what the picture is about."""

LISTED = 40
"""Columns that leave room for the name of each; of more, only some are named."""


def shares(
    counts: Mapping[str, Counts],
    *,
    rows: Sequence[str] | None = None,
    x: str = "client",
    y: str = "class",
    total: str = "examples",
) -> Figure:
    """A grid of counts: a column for each holder, a row for each class, darker where there is more; totals above.

    Args:
        counts: of each holder, shape (classes,), all alike.
        rows: the classes' names; their numbers unless given.
        x: what the holders are.
        y: what the classes are.
        total: what is counted.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    from hansa.plots.figure import dress, picture, whole

    grid = np.stack([np.asarray(each) for each in counts.values()], axis=1)
    classes, holders = grid.shape
    names = [str(row) for row in range(classes)] if rows is None else list(rows)
    width = min(max(4.5, 1.6 + 0.42 * holders), 11.0)
    height = min(max(1.6, 0.27 * classes), 7.0)
    made = picture(width, height + 1.5)
    above, below = made.subplots(2, 1, sharex=True, height_ratios=[0.9, height])
    above.bar(np.arange(holders), grid.sum(axis=0), width=0.8 if holders <= LISTED else 1.0, color=TOTAL)
    above.margins(y=0.12)
    dress(above, y=total, grid=None if holders <= WRITTEN else "y")
    above.tick_params(bottom=False, labelbottom=False)
    if holders <= WRITTEN:
        _write_totals(above, grid.sum(axis=0))
    else:
        whole(above.yaxis, 2)
    shown = below.imshow(np.ma.masked_equal(grid, 0), aspect="auto", cmap=_blues(), vmin=0, interpolation="nearest")
    if holders <= WRITTEN and classes <= WRITTEN:
        _write(below, grid)
    else:
        scale = made.colorbar(shown, ax=below, pad=0.01, aspect=30, fraction=0.05)
        scale.ax.tick_params(labelsize=9)
        scale.outline.set_visible(False)
    dress(below, x=x, y=y)
    below.spines[:].set_visible(False)
    _name(below, list(counts), names)
    made.align_ylabels([above, below])
    return made


def _blues() -> Any:
    """White is for none at all: even a single one has a tint."""
    import matplotlib as mpl
    from matplotlib.colors import ListedColormap

    return ListedColormap(mpl.colormaps["Blues"](np.linspace(0.12, 1, 256)))


def _write_totals(axes: Axes, totals: Counts) -> None:
    """Each total on its bar, in place of an axis."""
    from hansa.plots.figure import INK

    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.margins(y=0.35)
    for column, count in enumerate(totals):
        axes.annotate(
            str(count), (column, count), (0, 2), textcoords="offset points", ha="center", fontsize=8, color=INK
        )


def _write(axes: Axes, grid: Counts) -> None:
    """The counts in their cells, in an ink that is seen on each."""
    from hansa.plots.figure import INK

    most = grid.max(initial=0)
    size = 8 if grid.max(initial=0) < 10_000 else 6.5
    for (row, column), count in np.ndenumerate(grid):
        if count:
            ink = "white" if count > 0.6 * most else INK
            axes.text(column, row, str(count), ha="center", va="center", fontsize=size, color=ink)


def _name(axes: Axes, holders: Sequence[str], classes: Sequence[str]) -> None:
    """Ticks: every holder and class where there is room, else some of them."""
    from hansa.plots.figure import clipped, verbatim

    every = max(1, -(-len(classes) // 26))
    axes.set_yticks(range(0, len(classes), every), [verbatim(clipped(each, 18)) for each in classes[::every]])
    every = 1 if len(holders) <= LISTED else -(-len(holders) // 20)
    named = [verbatim(clipped(each, 18)) for each in holders[::every]]
    long = max(map(len, named), default=0) * min(len(named), LISTED) > (60 if len(holders) > 8 else 48)
    axes.set_xticks(range(0, len(holders), every), named, rotation=90 if long else 0)
    axes.tick_params(length=0)
