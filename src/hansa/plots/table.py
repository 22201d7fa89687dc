"""Rows of text under headings, drawn. This file must not know what the rows are about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST = 48
"""Characters of a cell; what is longer ends with an ellipsis."""

WIDEST = 150
"""Characters of a row; columns beyond it are left out, and counted."""


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool] = ()) -> Figure:
    """A drawn table.

    Args:
        headings: one a column.
        rows: of as many cells.
        numbers: for each column whether its cells are numbers, which are set to the right.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    from hansa.plots.figure import GRID, INK, picture, shortened, verbatim

    cells = [[shortened(cell, LONGEST) for cell in row] for row in (headings, *rows)]
    widths = [max(map(len, column)) + 3 for column in zip(*cells, strict=True)]
    kept = next((index for index in range(len(widths)) if sum(widths[: index + 1]) > WIDEST), len(widths)) or 1
    if kept < len(widths):
        widths = [*widths[:kept], 0]
        cells = [[*row[:kept], f"and {len(row) - kept} more" if row is cells[0] else "…"] for row in cells]
        widths[kept] = len(cells[0][kept]) + 3
    made = picture(max(2.5, 0.082 * sum(widths) + 0.2), 0.26 * len(cells) + 0.15)
    axes = made.add_subplot(xlim=(0, sum(widths)), ylim=(len(cells), 0))
    axes.set_axis_off()
    left = [sum(widths[:index]) for index in range(len(widths))]
    for line, row in enumerate(cells):
        axes.axhline(line + 1, color=INK if line == 0 else GRID, linewidth=0.8)
        for column, cell in enumerate(row):
            right = column < len(numbers) and numbers[column] and column < kept
            axes.text(
                left[column] + (widths[column] - 1.5 if right else 1),
                line + 0.55,
                verbatim(cell),
                ha="right" if right else "left",
                va="center",
                fontsize=9,
                color=INK,
                family="monospace",
                fontweight="bold" if line == 0 else "normal",
            )
    return made
