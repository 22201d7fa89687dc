"""The numbers of an entry, one at a time: what loggers write down. This file must not know where to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hansa.core.history import Entry


class Number(NamedTuple):
    """One measured number.

    Attributes:
        round: the round of its ask.
        work: the work that measured it.
        model: the evaluated model; empty where a work measured something else, such as the loss of its training.
        client: who measured it; empty for all of them together.
        metric: its name.
        value: NaN or infinite where it was.
    """

    round: int
    work: str
    model: str
    client: str
    metric: str
    value: float

    @property
    def label(self) -> str:
        """Names its series on a tracker: "accuracy/federated", "loss/train", "clients/accuracy/federated/alice"."""
        named = ("clients" if self.client else "", self.metric, self.model or self.work, self.client)
        return "/".join(part for part in named if part)


def numbers(entry: Entry, *, clients: bool = True) -> Iterator[Number]:
    """The merged metrics of an entry, then with `clients` each client's own, in the order of the History."""
    measured = {"": entry.metrics}
    if clients:
        measured |= {client: outcome.metrics for client, outcome in entry.outcomes.items()}
    for client, metrics in measured.items():
        for name, value in metrics.numbers().items():
            yield Number(entry.round, entry.work, entry.model or "", client, name, value)
