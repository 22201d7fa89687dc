"""Transforms: what changes an update on its way out of a client, and back in at the server. One idea a file."""

from hansa.transforms.half import Half
from hansa.transforms.quantised import Quantised
from hansa.transforms.rule import Decoded
from hansa.transforms.sparsified import Sparsified
from hansa.transforms.transform import Chained, Transform
from hansa.transforms.work import Transformed

__all__ = ["Chained", "Decoded", "Half", "Quantised", "Sparsified", "Transform", "Transformed"]
