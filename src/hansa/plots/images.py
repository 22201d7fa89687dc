"""Grids of images, whatever the layout of their arrays. This file must not know whose images they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hansa.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hansa.plots.figure import Picture

Array = np.ndarray[Any, np.dtype[Any]]

COLOURED = (1, 3, 4)
"""Channels of a picture: grey, red-green-blue, and with transparency."""

SMALLEST = 8
"""Pixels on a side of a flat square: fewer numbers are taken for a table's."""


def is_pictures(values: Array) -> bool:
    """Whether an array can be seen as images: (n, h, w), (n, 1|3|4, h, w), (n, h, w, 1|3|4), or (n, side²) from 8×8 on."""
    match values.shape if values.dtype.kind in "buif" else ():
        case (_, int(size)):
            return size >= SMALLEST**2 and math.isqrt(size) ** 2 == size
        case (_, int(height), int(width)):
            return height > 1 and width > 1
        case (_, int(first), _, int(last)):
            return first in COLOURED or last in COLOURED
    return False


def as_pictures(values: Array) -> Array:
    """Images as float64 in [0, 1], shape (n, h, w) for grey ones and (n, h, w, 3 | 4) for coloured ones.

    Bytes and numbers between 0 and 1 are taken as they are; others, such as normalised pixels, are stretched from the lowest
    to the highest of them all. What is not finite is grey.

    Raises:
        DataError: they have no layout of images.
    """
    values = np.asarray(values)
    if not is_pictures(values):
        raise DataError(
            f"an array of {values.dtype} of shape {values.shape} cannot be shown as images",
            hint="give (n, height, width), (n, channels, height, width), (n, height, width, channels) or (n, side²), with "
            "1, 3 or 4 channels",
        )
    if values.ndim == 2:
        side = math.isqrt(values.shape[1])
        values = values.reshape(-1, side, side)
    if values.ndim == 4 and values.shape[1] in COLOURED:
        values = np.moveaxis(values, 1, -1)
    if values.ndim == 4 and values.shape[-1] == 1:
        values = values[..., 0]
    return _unit(values)


def _unit(values: Array) -> Array:
    numbers = values.astype(np.float64)
    seen = numbers[np.isfinite(numbers)]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif values.dtype.kind in "ui" and low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    unit = (numbers - low) / ((high - low) or 1.0)
    return np.where(np.isfinite(unit), unit, 0.5)


def images(
    values: Array, captions: Sequence[str] | None = None, *, columns: int = 8, masks: Array | None = None
) -> Figure:
    """A grid of images with a caption under each.

    Args:
        values: the images, in any layout that `is_pictures` knows.
        captions: one an image.
        columns: images in a row.
        masks: integers or bool, shape (n, h, w): what lies over each image in colour, nothing where it is 0.

    Raises:
        DataError: they have no layout of images, or there is another number of captions or masks.
        MissingExtra: matplotlib is not installed.
    """
    pictures = as_pictures(values)
    for name, others in (("captions", captions), ("masks", masks)):
        if others is not None and len(others) != len(pictures):
            raise DataError(f"there are {len(others)} {name} for {len(pictures)} images", hint="give one an image")
    made, cells = grid_of(pictures, columns, captions)
    for index, axes in enumerate(cells):
        show(axes, pictures[index], "" if captions is None else captions[index])
        if masks is not None:
            axes.imshow(overlay(masks[index]), interpolation="nearest")
    return made


def grid_of(
    pictures: Array, columns: int, captions: Sequence[str] | None, head: float = 0
) -> tuple[Picture, list[Axes]]:
    """A figure with a cell for each picture; wider cells where captions are long, and `head` inches for a legend."""
    from hansa.plots.figure import picture

    count = len(pictures)
    tall = pictures.shape[1] / max(pictures.shape[2], 1)
    longest = max((len(line) for each in captions or () for line in each.split("\n")), default=0)
    lines = max((each.count("\n") + 1 for each in captions or () if each), default=0)
    width = min(max(1.1, 0.085 * longest + 0.1), 2.4)
    columns = max(1, min(columns, count, int(11 / width)))
    rows = max(1, math.ceil(count / columns))
    height = min(max(1.1 * tall, 0.5), 3.0) * (width / 1.1 if tall <= 1 else 1)
    made = picture(columns * width + 0.15, rows * (height + 0.1 + 0.16 * lines) + 0.15 + head)
    cells = list(made.subplots(rows, columns, squeeze=False).flat)
    for unused in cells[count:]:
        unused.remove()
    return made, cells[:count]


def show(axes: Axes, pixels: Array, caption: str, colour: str | None = None) -> None:
    """One image in its cell; with a colour, a frame of it, and the caption in it."""
    from hansa.plots.figure import GRID, INK, verbatim

    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=colour or GRID, linewidth=2.2 if colour else 0.8)
    weight = "bold" if colour else "normal"
    axes.set_xlabel(verbatim(caption), fontsize=8.5, color=colour or INK, labelpad=3, fontweight=weight)


def overlay(mask: Array, opacity: float = 0.5) -> Array:
    """A mask as colours to lay over an image: float64, shape (h, w, 4); transparent where it is 0."""
    from matplotlib.colors import to_rgb

    from hansa.plots.figure import COLOURS

    mask = np.asarray(mask).astype(np.int64)
    palette = np.array([to_rgb(each) for each in (*COLOURS[1:], COLOURS[0])])
    colours = np.zeros((*mask.shape, 4))
    colours[..., :3] = palette[(mask - 1) % len(palette)]
    colours[..., 3] = np.where(mask != 0, opacity, 0.0)
    return colours
