"""What a model said of images beside what is true: classes under the images, or masks over them.

This file must not know the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hansa.errors import DataError
from hansa.plots.images import Array, as_pictures, grid_of, overlay, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOUND, MISSED, TOO_MUCH = 2, 4, 3
"""Places in the palette of `overlay`, for pixels that were rightly predicted, overlooked, and predicted where nothing is."""


def predictions(
    images: Array,
    labels: Array,
    predicted: Array,
    *,
    classes: Sequence[str] | None = None,
    columns: int = 8,
    most: int = 32,
) -> Figure:
    """A grid of images with what a model says of each. A wrong class is framed and says both, "4, not 9".

    With masks for labels, pixels are coloured by whether they were found, missed, or too much; 0 is the background. The
    number below is the intersection over the union of all that is no background.

    Args:
        images: in any layout that `hansa.plots.is_pictures` knows.
        labels: the truth: classes of shape (n,), or masks of shape (n, h, w).
        predicted: the same, or scores of shape (n, classes) or (n, classes, h, w), whose highest counts.
        classes: their names; numbers unless given.
        columns: images in a row.
        most: the first so many are shown.

    Raises:
        DataError: the images have no layout of images, or labels and predictions are not of the same shape.
        MissingExtra: matplotlib is not installed.
    """
    pictures = as_pictures(np.asarray(images)[:most])
    truth, said = np.asarray(labels)[:most], np.asarray(predicted)[:most]
    if truth.ndim == 4 and truth.shape[1] == 1:
        truth = truth[:, 0]
    if said.ndim == truth.ndim + 1:
        said = said[:, 0] if said.shape[1] == 1 and truth.ndim > 1 else said.argmax(axis=1)
    if said.shape != truth.shape or len(truth) != len(pictures):
        raise DataError(
            f"{len(pictures)} images, labels of shape {truth.shape} and predictions of shape {said.shape} do not go together",
            hint="give one label and one prediction an image, as classes, scores or masks",
        )
    if truth.ndim > 1:
        return _masks(pictures, truth, said, columns)
    named = [_name(each, classes) for each in said]
    right = [bool(same) for same in said == truth]
    captions = [
        name if good else _wrong(name, _name(true, classes))
        for name, good, true in zip(named, right, truth, strict=True)
    ]
    return _classes(pictures, captions, right, columns)


def _classes(pictures: Array, captions: Sequence[str], right: Sequence[bool], columns: int) -> Figure:
    from hansa.plots.figure import WRONG

    made, cells = grid_of(pictures, columns, captions)
    for axes, pixels, caption, good in zip(cells, pictures, captions, right, strict=True):
        show(axes, pixels, caption, None if good else WRONG)
    return made


def _wrong(said: str, true: str) -> str:
    """Both, on two lines where one would be long."""
    return f"{said}, not {true}" if len(said) + len(true) <= 4 else f"{said},\nnot {true}"


def _name(label: object, classes: Sequence[str] | None) -> str:
    number = int(str(label)) if str(label).lstrip("-").isdigit() else None
    return classes[number] if classes is not None and number is not None and 0 <= number < len(classes) else str(label)


def _masks(pictures: Array, truth: Array, said: Array, columns: int) -> Figure:
    from hansa.plots.figure import swatches

    held, drawn = truth != 0, said != 0
    marks = np.select(
        [held & (truth == said), held, drawn], [FOUND, MISSED, TOO_MUCH], 0
    )  # a pixel of another class than its own is a missed one
    found, union = (marks == FOUND).sum(axis=(1, 2)), (marks != 0).sum(axis=(1, 2))
    captions = [f"IoU {hit / of:.2f}" if of else "nothing there" for hit, of in zip(found, union, strict=True)]
    made, cells = grid_of(pictures, columns, captions, head=0.3)
    for axes, pixels, mark, caption in zip(cells, pictures, marks, captions, strict=True):
        show(axes, pixels, caption)
        axes.imshow(overlay(mark, 0.6), interpolation="nearest")
    colours = overlay(np.array([[FOUND, MISSED, TOO_MUCH]]), 1.0)[0]
    swatches(made, dict(zip(("found", "missed", "too much"), map(tuple, colours), strict=True)))
    return made
