"""Clients' data sets as rows of arrays in memory, by a column of owners.

This file must not know what is done with the parts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt

from hansa.core.population import ClientId
from hansa.data.dataset import ClientDataset
from hansa.data.partition import rows_by_value
from hansa.errors import ConfigError, DataError

CENTRAL: ClientId = "central"
"""The evaluator that holds a test set given as one data set."""


def owned(arrays: Mapping[str, npt.ArrayLike], owner: npt.ArrayLike) -> dict[ClientId, ClientDataset]:
    """The data set of each owner: a view of its rows, ascending; the owners are in the order of their values.

    Raises:
        DataError: there is not one owner for each example, or the arrays are no data set.
    """
    whole, owners = ClientDataset(arrays), np.asarray(owner)
    if owners.shape != (len(whole),) or owners.dtype.kind == "O":
        raise DataError(
            f"expected one owner for each of {len(whole)} examples, found {owners.dtype} of shape {owners.shape}",
            hint="give a number or a name for each row",
        )
    if not len(whole):
        return {}
    groups = rows_by_value(ClientDataset({"owner": owners}), "owner")
    return {str(value): whole.select(rows) for value, rows in groups.items()}


def central(train: Collection[ClientId], test: ClientDataset) -> dict[ClientId, ClientDataset]:
    """The test data of an evaluator that is none of the training clients."""
    if CENTRAL in train:
        raise ConfigError(
            f"a training client is called {CENTRAL!r}, like the evaluator that would hold the test data",
            hint='name the evaluator yourself: test={"my evaluator": ...}',
        )
    return {CENTRAL: test}
