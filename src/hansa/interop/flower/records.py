"""Records: what messages and contexts hold. Arrays, metrics and settings, each by name, checked as they are put in.

This file must not know how records travel.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Generic, TypeVar

import numpy as np

from hansa.core.tree import Array as NDArray
from hansa.errors import InputError, MissingExtra
from hansa.interop.flower.parameters import NUMPY, bytes_to_ndarray, ndarray_to_bytes
from hansa.training.clients.answers import checked_arrays, plain

V = TypeVar("V")

MetricRecordValues = int | float | list[int] | list[float]
ConfigRecordValues = int | float | str | bytes | bool | list[int] | list[float] | list[str] | list[bytes] | list[bool]


class Array:
    """One array. It may be made of a NumPy array, of a PyTorch tensor, or of its serialised parts.

    Attributes:
        dtype: NumPy's name of it.
        shape: its axes.
        stype: how `data` is serialised.
    """

    def __init__(
        self,
        ndarray: Any = None,
        shape: tuple[int, ...] = (),  # noqa: ARG002 - it is said in the data too
        stype: str = NUMPY,
        data: bytes | None = None,
        *,
        dtype: str = "",
        torch_tensor: Any = None,
    ) -> None:
        if data is not None:
            ndarray = bytes_to_ndarray(data)
        elif torch_tensor is not None or hasattr(ndarray, "detach"):
            ndarray = (ndarray if torch_tensor is None else torch_tensor).detach().cpu().numpy()
        (self._array,) = checked_arrays([ndarray], "a NumPy array", f"Array{dtype and f' of {dtype}'}")
        self.dtype, self.shape, self.stype = str(self._array.dtype), tuple(self._array.shape), stype

    def numpy(self) -> NDArray:
        """A copy as a NumPy array."""
        return np.array(self._array)

    @property
    def data(self) -> bytes:
        """It in NumPy's own file format."""
        return ndarray_to_bytes(self._array)

    def lent(self) -> NDArray:
        """It as it is, not to be changed."""
        return self._array

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Array):
            return NotImplemented
        same = self.dtype == other.dtype and self.shape == other.shape
        return same and np.array_equal(self._array, other._array)

    __hash__ = None  # type: ignore[assignment]  # arrays have none

    def __repr__(self) -> str:
        return f"Array(dtype={self.dtype!r}, shape={self.shape}, stype={self.stype!r})"


class Record(MutableMapping[str, V], Generic[V]):
    """A dict with text keys whose values are checked, and perhaps converted, as they are put in."""

    def __init__(self, items: Mapping[str, V] | None = None, *, check: Callable[[Any], V]) -> None:
        self._check, self._items = check, dict[str, V]()
        self.update(items or {})

    def __setitem__(self, key: str, value: V) -> None:
        if not isinstance(key, str):
            raise InputError(
                f"the keys of {type(self).__name__} are text, not {type(key).__name__}", hint="use str(...)"
            )
        try:
            self._items[key] = self._check(value)
        except InputError as problem:
            problem.where = f"{type(self).__name__}[{key!r}]"
            raise

    def __getitem__(self, key: str) -> V:
        return self._items[key]

    def __delitem__(self, key: str) -> None:
        del self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self._items == dict(other)

    __hash__ = None  # type: ignore[assignment]  # it may be changed

    def __repr__(self) -> str:
        return repr(self._items)


class ArrayRecord(Record[Array]):
    """Arrays by name: of `Array`s, of a list of NumPy arrays (named "0", "1", ...), or of a PyTorch `state_dict`."""

    def __init__(
        self,
        arrays: Any = None,
        *,
        array_dict: Mapping[str, Array] | None = None,
        numpy_ndarrays: list[NDArray] | None = None,
        torch_state_dict: Mapping[str, Any] | None = None,
        keep_input: bool = True,
    ) -> None:
        given: Any = next(
            (each for each in (arrays, array_dict, numpy_ndarrays, torch_state_dict) if each is not None), {}
        )
        items = given if isinstance(given, Mapping) else {str(number): each for number, each in enumerate(given)}
        super().__init__(items, check=lambda value: value if isinstance(value, Array) else Array(value))
        if not keep_input:
            given.clear()

    @classmethod
    def from_numpy_ndarrays(cls, ndarrays: list[NDArray], *, keep_input: bool = True) -> ArrayRecord:
        """Arrays of a list, named "0", "1", ..."""
        return cls(ndarrays, keep_input=keep_input)

    @classmethod
    def from_torch_state_dict(cls, state_dict: Mapping[str, Any], *, keep_input: bool = True) -> ArrayRecord:
        """Arrays of tensors."""
        return cls(state_dict, keep_input=keep_input)

    def to_numpy_ndarrays(self, *, keep_input: bool = True) -> list[NDArray]:
        """Copies as a list, in the order in which they were put in."""
        arrays = [array.numpy() for array in self.values()]
        if not keep_input:
            self.clear()
        return arrays

    def to_torch_state_dict(self, *, keep_input: bool = True) -> OrderedDict[str, Any]:
        """Copies as PyTorch tensors.

        Raises:
            MissingExtra: PyTorch is not imported.
        """
        torch = sys.modules.get("torch")
        if torch is None:
            raise MissingExtra.of("PyTorch", "torch", "to_torch_state_dict")
        tensors = OrderedDict((name, torch.from_numpy(array.numpy())) for name, array in self.items())
        if not keep_input:
            self.clear()
        return tensors

    def count_bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.lent().nbytes for array in self.values())


class MetricRecord(Record[MetricRecordValues]):
    """Numbers, and lists of numbers, by name."""

    def __init__(self, metric_dict: Mapping[str, Any] | None = None, keep_input: bool = True) -> None:  # noqa: ARG002 - as in Flower
        super().__init__(metric_dict, check=lambda value: _values(value, (int, float), "a number or a list of numbers"))


class ConfigRecord(Record[ConfigRecordValues]):
    """Numbers, text, bytes, and lists of one of these, by name."""

    def __init__(self, config_dict: Mapping[str, Any] | None = None, keep_input: bool = True) -> None:  # noqa: ARG002 - as in Flower
        kinds, expected = (int, float, str, bytes), "a number, text, bytes, or a list of these"
        super().__init__(config_dict, check=lambda value: _values(value, kinds, expected))


RecordType = ArrayRecord | MetricRecord | ConfigRecord


class RecordDict(Record[RecordType]):
    """Records by name."""

    def __init__(self, records: Mapping[str, RecordType] | None = None) -> None:
        super().__init__(records, check=_record)

    @property
    def array_records(self) -> dict[str, ArrayRecord]:
        """Those that hold arrays."""
        return {name: record for name, record in self.items() if isinstance(record, ArrayRecord)}

    @property
    def metric_records(self) -> dict[str, MetricRecord]:
        """Those that hold metrics."""
        return {name: record for name, record in self.items() if isinstance(record, MetricRecord)}

    @property
    def config_records(self) -> dict[str, ConfigRecord]:
        """Those that hold settings."""
        return {name: record for name, record in self.items() if isinstance(record, ConfigRecord)}


def _record(value: Any) -> RecordType:
    if not isinstance(value, RecordType):
        raise InputError(
            f"expected an ArrayRecord, a MetricRecord or a ConfigRecord, found {type(value).__name__}",
            hint="wrap it in one of them",
        )
    return value


def _values(value: Any, kinds: tuple[type, ...], expected: str) -> Any:
    """A scalar or a list of scalars, as Python's own."""
    found = [plain(each) for each in value] if isinstance(value, list) else plain(value)
    each: Iterable[Any] = found if isinstance(found, list) else [found]
    if not all(isinstance(one, kinds) for one in each):
        raise InputError(f"expected {expected}, found {value!r:.80}", hint="convert it, such as float(value)")
    return found
