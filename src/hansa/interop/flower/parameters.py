"""Parameters: a model's arrays as Flower's strategies pass them on, serialised only where somebody looks at the bytes."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np

from hansa.core.tree import Array, Tree
from hansa.training.clients.answers import in_order, named, writable

NDArrays = list[Array]
NUMPY = "numpy.ndarray"
"""The type of tensors that are arrays; tensors of any other type are bytes of the program's own."""


class Parameters:
    """A list of tensors as bytes, with the name of their type.

    Arrays are kept as arrays until `tensors` is read, and from then on the bytes are what counts.

    Args:
        tensors: each as bytes; for "numpy.ndarray" in NumPy's own file format.
        tensor_type: what they are.
    """

    def __init__(self, tensors: list[bytes], tensor_type: str) -> None:
        self.tensor_type = tensor_type
        self._tensors: list[bytes] | None = tensors
        self._arrays: NDArrays | None = None

    @classmethod
    def of(cls, arrays: Sequence[Array]) -> Parameters:
        """Parameters of arrays, which are not copied: nobody may change them afterwards."""
        parameters = cls([], NUMPY)
        parameters._tensors, parameters._arrays = None, list(arrays)
        return parameters

    @property
    def tensors(self) -> list[bytes]:
        """Each tensor as bytes."""
        if self._tensors is None:
            self._tensors, self._arrays = [ndarray_to_bytes(array) for array in self._arrays or ()], None
        return self._tensors

    @tensors.setter
    def tensors(self, tensors: list[bytes]) -> None:
        """Other tensors instead."""
        self._tensors, self._arrays = tensors, None

    def arrays(self) -> NDArrays:
        """The tensors as arrays, which are perhaps shared: not to be changed."""
        if self._arrays is not None:
            return self._arrays
        return [bytes_to_ndarray(tensor) for tensor in self.tensors]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Parameters):
            return NotImplemented
        return self.tensor_type == other.tensor_type and self.tensors == other.tensors

    __hash__ = None  # type: ignore[assignment]  # it may be changed

    def __repr__(self) -> str:
        count = len(self._arrays if self._arrays is not None else self.tensors)
        return f"Parameters({count} tensors, tensor_type={self.tensor_type!r})"

    def to_tree(self) -> Tree:
        """The tensors by position; what are no arrays as their bytes, uint8."""
        if self.tensor_type == NUMPY:
            return named(self.arrays())
        return named([np.frombuffer(tensor, np.uint8) for tensor in self.tensors])

    @classmethod
    def from_tree(cls, tree: Tree, tensor_type: str = NUMPY) -> Parameters:
        """The parameters that `to_tree` made a tree of."""
        arrays = in_order(tree)
        return cls.of(arrays) if tensor_type == NUMPY else cls([array.tobytes() for array in arrays], tensor_type)


def ndarrays_to_parameters(ndarrays: NDArrays) -> Parameters:
    """Parameters of copies of these arrays."""
    return Parameters.of(writable([np.asarray(array) for array in ndarrays]))


def parameters_to_ndarrays(parameters: Parameters) -> NDArrays:
    """Copies of the arrays, the caller's own to change."""
    return writable(parameters.arrays())


def ndarray_to_bytes(ndarray: Array) -> bytes:
    """An array in NumPy's own file format."""
    file = BytesIO()
    np.save(file, ndarray, allow_pickle=False)
    return file.getvalue()


def bytes_to_ndarray(tensor: bytes) -> Array:
    """The array that `ndarray_to_bytes` wrote; nothing in it is executed."""
    array: Array = np.load(BytesIO(tensor), allow_pickle=False)
    return array
