"""Goals: which way a metric is good, as "max accuracy" or "min loss". What is best is always said, never guessed from a name.

This file must not know who measured the metric, or what is done about it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hansa.errors import ConfigError


@dataclass(frozen=True)
class Goal:
    """What a metric should become.

    Attributes:
        metric: its name.
        most: whether more is better.
    """

    metric: str
    most: bool

    @classmethod
    def of(cls, text: str) -> Goal:
        """The goal that a text says: "max accuracy", "min loss".

        Raises:
            ConfigError: it is not "min" or "max" and the name of a metric.
        """
        way, _, metric = str(text).partition(" ")
        if way not in ("min", "max") or not metric.strip():
            raise ConfigError(f"best by {text!r}", hint='say "min loss" or "max accuracy": the way, and the metric')
        return cls(metric.strip(), way == "max")

    def better(self, value: float, than: float | None, by: float = 0.0) -> bool:
        """Whether a value is better than another by more than `by`; NaN never is, and anything is better than nothing."""
        if math.isnan(value):
            return False
        if than is None or math.isnan(than):
            return True
        return value - than > by if self.most else than - value > by
