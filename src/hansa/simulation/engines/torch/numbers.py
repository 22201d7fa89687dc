"""Numbers known later: what changes from step to step, or from round to round, while one traced graph stays.

An optimiser that is traced is given a `Later` for its count of steps and for the factor of the learning rate. Python's own
arithmetic on it is recorded, and done anew at each step; where the result meets a tensor, the graph gets an input.

This file must not know what is traced.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from hansa.errors import MissingExtra
from hansa.simulation.engines.engine import CannotFuse

try:
    import torch
    from torch import Tensor
except ImportError as missing:
    raise MissingExtra.of("PyTorch", "torch", "its engines") from missing

Value = Callable[[int, float], float]
"""(the optimiser's count of steps, the factor of the learning rate) -> a number."""


class Numbers:
    """The inputs of a graph that are numbers, in the order in which a step meets tensors with them.

    Args:
        inputs: tensors without an axis to hand out; a first run is without them, and finds out which are needed.

    Attributes:
        met: (number, dtype) of each.
    """

    def __init__(self, inputs: Sequence[Tensor] | None = None) -> None:
        self.met: list[tuple[Later, torch.dtype]] = []
        self._inputs, self._handed = inputs, dict[tuple[int, torch.dtype], Tensor]()

    @property
    def steps(self) -> Later:
        """How many steps the optimiser has made."""
        return Later(lambda steps, factor: steps, self, varies=True)  # noqa: ARG005 - a Value's signature

    @property
    def factor(self) -> Later:
        """What multiplies the learning rate in this round."""
        return Later(lambda steps, factor: factor, self)  # noqa: ARG005 - a Value's signature

    def tensor(self, number: Later, meets: Tensor) -> Tensor:
        """The number as the graph's input, for an operation with a tensor."""
        # A Python number never widens a tensor. A float64 without an axis widens only another tensor without one.
        dtype = torch.float64 if meets.ndim and meets.is_floating_point() else meets.dtype
        if not dtype.is_floating_point:
            raise CannotFuse(f"a number of the optimiser's meets a tensor of {dtype}")
        if (known := self._handed.get((id(number), dtype))) is not None:
            return known
        self.met.append((number, dtype))
        place = len(self.met) - 1
        made = torch.ones((), dtype=dtype, device="cpu") if self._inputs is None else self._inputs[place]
        self._handed[id(number), dtype] = made
        return made


class Later:
    """A number that Python's arithmetic may go on with, and nothing may look at yet.

    Args:
        value: what it will be.
        numbers: where it becomes an input of the graph.
        varies: whether it depends on the count of steps.
    """

    __slots__ = ("_numbers", "value", "varies")
    __array_ufunc__ = None  # NumPy's numbers leave the arithmetic to this class

    def __init__(self, value: Value, numbers: Numbers, *, varies: bool = False) -> None:
        self.value, self._numbers, self.varies = value, numbers, varies

    def __neg__(self) -> Later:
        return Later(lambda *known: -self.value(*known), self._numbers, varies=self.varies)

    def __abs__(self) -> Later:
        return Later(lambda *known: abs(self.value(*known)), self._numbers, varies=self.varies)

    def _refuse(self, *_: object) -> Any:
        raise CannotFuse("the optimiser looks at its count of steps or at the learning rate's factor, which change")

    __bool__ = __float__ = __int__ = __index__ = __complex__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __hash__ = object.__hash__

    def _with(self, other: Any, operation: Callable[[Any, Any], Any]) -> Any:
        if isinstance(other, Later):
            both = self.varies or other.varies
            return Later(lambda *known: operation(self.value(*known), other.value(*known)), self._numbers, varies=both)
        if isinstance(other, (int, float)):
            return Later(lambda *known: operation(self.value(*known), other), self._numbers, varies=self.varies)
        return NotImplemented

    def _arithmetic(operation: Callable[[Any, Any], Any], reflection: str) -> Any:  # type: ignore[misc]  # noqa: N805
        def method(self: Later, other: Any) -> Any:
            if isinstance(other, Tensor):  # as Python does it with a number on the left: ask the tensor
                return getattr(other, reflection)(self._numbers.tensor(self, other))
            return self._with(other, operation)

        return method

    def _reflected(operation: Callable[[Any, Any], Any]) -> Any:  # type: ignore[misc]  # noqa: N805
        def method(self: Later, other: Any) -> Any:
            if isinstance(other, Tensor):
                return operation(other, self._numbers.tensor(self, other))
            return self._with(other, lambda mine, its: operation(its, mine))

        return method

    __add__, __radd__ = _arithmetic(operator.add, "__radd__"), _reflected(operator.add)
    __sub__, __rsub__ = _arithmetic(operator.sub, "__rsub__"), _reflected(operator.sub)
    __mul__, __rmul__ = _arithmetic(operator.mul, "__rmul__"), _reflected(operator.mul)
    __truediv__, __rtruediv__ = _arithmetic(operator.truediv, "__rtruediv__"), _reflected(operator.truediv)

    def __pow__(self, other: Any) -> Any:
        # Powers of tensors take other paths for some numbers, such as √x for 0.5: no one graph is right for all.
        return self._refuse() if isinstance(other, Tensor) else self._with(other, operator.pow)

    def __rpow__(self, other: Any) -> Any:
        return self._refuse() if isinstance(other, Tensor) else self._with(other, lambda mine, its: its**mine)
