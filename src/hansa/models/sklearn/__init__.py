"""scikit-learn: its linear models and multilayer perceptrons are Models; `SklearnModel` is all that others need of it."""

from hansa.models.sklearn.model import SklearnModel

__all__ = ["SklearnModel"]
