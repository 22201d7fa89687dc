"""Several runs in one picture: how a metric went against what each of them took.

This file must not know how the runs were made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hansa import plots
from hansa.core.history import FEDERATED, History
from hansa.core.spent import Over, axis, spent
from hansa.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def compare(
    histories: Mapping[str, History],
    metric: str,
    over: Over | Sequence[Over] = ("seconds", "bytes"),
    *,
    goal: float | None = None,
    model: str = FEDERATED,
) -> Figure:
    """A metric of several runs, a panel for each thing that it is measured against: time to accuracy, bytes to accuracy.

    Args:
        histories: the runs, by what they are called.
        metric: which, such as "accuracy".
        over: "rounds", "seconds", "bytes" or several of them; see `History.series`.
        goal: where a horizontal line is drawn; `History.reached` tells when a run came there.
        model: whose metric.

    Raises:
        UnknownName: the metric was never measured in one of them, or of another `over`.
        ConfigError: there is no run to compare, or nothing to compare by.
        MissingExtra: matplotlib is not installed.
    """
    measures: Sequence[Over] = [over] if isinstance(over, str) else over
    if not histories or not measures:
        raise ConfigError(
            "there is nothing to compare", hint='such as compare({"FedAvg": one, "FedBuff": other}, "accuracy")'
        )
    panels: dict[str, list[plots.Line]] = {}
    for each in dict.fromkeys(measures):
        largest = max(max(spent(history.entries, each), default=0.0) for history in histories.values())
        divisor, x = axis(each, largest, virtual=any(history.is_virtual for history in histories.values()))
        for name, history in histories.items():
            history.final(metric, model)  # says what is measured, where this is not
            points = [(at / divisor, value) for at, value in history.series(metric, model, each)]
            panels.setdefault(x, []).append(plots.Line(name, points, bold=True))
    return plots.lines(panels, y=metric, goal=goal)
