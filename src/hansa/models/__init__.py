"""Models: the port to learning frameworks (`model`), and one adapter a file. Import an adapter's file to use it."""

from hansa.models.model import Batch, CompilingModel, Gradient, Model, Prediction, Resident
from hansa.models.numpy import NumpyMLP

__all__ = ["Batch", "CompilingModel", "Gradient", "Model", "NumpyMLP", "Prediction", "Resident"]
