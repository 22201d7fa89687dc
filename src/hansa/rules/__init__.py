"""Aggregation rules: how the updates of a cohort become one. Each is a commutative monoid."""

from hansa.rules.collect import Collect
from hansa.rules.compose import Both, ByPrefix
from hansa.rules.mean import WeightedMean

__all__ = ["Both", "ByPrefix", "Collect", "WeightedMean"]
