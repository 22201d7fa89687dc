"""What a training work has to train on, or why it has nothing."""

from __future__ import annotations

from typing import Any

from hansa.core.work import ClientContext
from hansa.errors import DataError


def training_examples(context: ClientContext) -> Any:
    """The client's "train" split.

    Raises:
        DataError: there is none, or it is empty.
    """
    examples = context.data.get("train")
    if examples is None or not len(examples):
        raise DataError(
            "there are no examples to train on",
            where=f"client {context.id!r}",
            hint='give the client data in its "train" split, or leave it out of the cohort',
        )
    return examples
