"""How data look: a grid of the first examples, who holds which classes, and small tables for a notebook.

This file must not know how a picture is drawn; that is `hansa.plots`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hansa import plots
from hansa.errors import ConfigError, DataError, UnknownName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hansa.core.population import ClientId
    from hansa.core.tree import Array
    from hansa.data.dataset import Batch, ClientDataset
    from hansa.data.federated import FederatedData

FEW = 12
"""Whole numbers of an example that get a column each in a table."""

ROWS = 20
"""Clients that a notebook's table lists."""


def plot_examples(
    dataset: ClientDataset,
    n: int,
    inputs: str,
    target: str,
    columns: Sequence[str] | None,
    classes: Sequence[str] | None,
) -> Figure:
    """See `ClientDataset.plot`."""
    if n < 1:
        raise ConfigError(f"a plot shows at least one example, not {n}")
    if not len(dataset):
        raise DataError("there are no examples to show")
    batch = dataset.take(n).all()
    if columns is None and inputs in batch and plots.is_pictures(batch[inputs]):
        return _images(batch[inputs], batch.get(target), classes)
    return _table(batch, target, columns, classes)


def plot_labels(data: FederatedData, split: str, field: str, classes: Sequence[str] | None) -> Figure:
    """See `FederatedData.plot_labels`."""
    counts = data.label_counts(field, split=split)
    if not any(each.any() for each in counts.values()):
        raise DataError(f"nobody holds examples in the split {split!r}", hint='choose "train" or "test"')
    number = len(next(iter(counts.values())))
    if classes is not None and len(classes) < number:
        raise ConfigError(f"there are {number} classes and {len(classes)} names for them", hint="name every class")
    return plots.shares(counts, rows=None if classes is None else list(classes)[:number])


def dataset_html(dataset: ClientDataset) -> str:
    """A table of the fields: their dtypes, shapes and first values. No transform is called."""
    first = dataset.take(3)
    rows = [
        (name, first[name].dtype, list(first[name].shape[1:]), ", ".join(_said(each) for each in first[name]))
        for name in dataset.names
    ]
    return plots.html_table(f"ClientDataset: {len(dataset):,} examples", ["field", "dtype", "shape", "first"], rows)


def federated_html(data: FederatedData) -> str:
    """A table of the clients. Data sets are not loaded for it: sizes are given where they are known already."""
    sizes: dict[str, Mapping[ClientId, int]] = {split: data.known_sizes(split) for split in ("train", "test")}
    rows = [
        (client, *(sizes[split].get(client, "yes" if client in data.split(split) else "") for split in sizes))
        for client in data.clients[:ROWS]
    ]
    more = len(data.clients) - ROWS
    return plots.html_table(
        f"FederatedData: {len(data):,} clients to train, {len(data.test):,} with test data",
        ["client", *sizes],
        rows,
        numbers=list(sizes),
        note=f"and {more:,} clients more" if more > 0 else "",
    )


def _images(values: Array, labels: Array | None, classes: Sequence[str] | None) -> Figure:
    if labels is not None and labels.ndim == 4 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels is None:
        return plots.images(values)
    if labels.ndim > 1 and labels.dtype.kind in "uib" and labels.ndim == 3:
        return plots.images(values, masks=labels)
    return plots.images(values, [_label(each, classes) for each in labels])


def _table(batch: Batch, target: str, columns: Sequence[str] | None, classes: Sequence[str] | None) -> Figure:
    """A row for each example. Quantities are spread over a column each; token ids and texts stay together."""
    spread: dict[str, Array] = {}
    for name, values in batch.items():
        flat = values.reshape(len(values), -1)
        if values.ndim > 1 and name != target and (values.dtype.kind == "f" or flat.shape[1] <= FEW):
            spread |= {f"{name}[{index}]": flat[:, index] for index in range(flat.shape[1])}
        else:
            spread[name] = values
    spread = {**{name: values for name, values in spread.items() if name != target}, **_only(batch, target)}
    for name in columns or ():
        if name not in spread and name not in batch:
            raise UnknownName.among("column", name, [*batch, *spread])
    if columns is not None:
        spread = {
            name: values for name, values in spread.items() if name in columns or name.partition("[")[0] in columns
        }
    headings = list(spread)
    cells = [
        [_label(values[row], classes) if name == target else _said(values[row]) for name, values in spread.items()]
        for row in range(len(next(iter(batch.values()))))
    ]
    numbers = [values.dtype.kind in "biuf" and values.ndim == 1 for values in spread.values()]
    return plots.table(headings, cells, numbers)


def _only(batch: Batch, name: str) -> Batch:
    return {name: batch[name]} if name in batch else {}


def _label(label: Any, classes: Sequence[str] | None) -> str:
    if classes is not None and np.ndim(label) == 0 and np.asarray(label).dtype.kind in "iub":
        number = int(label)
        return classes[number] if 0 <= number < len(classes) else str(number)
    return _said(label)


def _said(value: Any) -> str:
    """One value of a field, short."""
    if np.ndim(value) == 0:
        return f"{value:.4g}" if np.asarray(value).dtype.kind == "f" else str(value)
    flat = np.asarray(value).reshape(-1)
    shown = " ".join(_said(each) for each in flat[:6])
    return f"[{shown}{' …' if len(flat) > 6 else ''}]"
