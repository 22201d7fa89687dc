"""A traced step made ready to run, for batches of every size, and compared with the definition before it is believed.

This file must not know in which order clients are trained.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from hansa.errors import MissingExtra
from hansa.simulation.engines.engine import CannotFuse
from hansa.simulation.engines.torch import source
from hansa.simulation.engines.torch.graphs import Graph
from hansa.simulation.engines.torch.numbers import Later

try:
    import torch
    from torch import Tensor, fx
except ImportError as missing:
    raise MissingExtra.of("PyTorch", "torch", "its engines") from missing

Function = Callable[..., list[Tensor]]
"""(values, loss, begun, batches, constants, size, numbers) -> the values and the loss after a step for each batch.

All but the size, of one batch, and the numbers, a list of them for each step, are tensors laid out one by one; those of the
batches have shape (steps, size, ...)."""

Rewriting = Callable[[fx.Graph], None]
"""Changes a graph for TorchScript."""


@contextmanager
def running() -> Iterator[None]:
    """Where compiled steps run."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        # The definition runs with gradients on, and some operators, such as oneDNN's LSTM, compute otherwise without.
        stack.enter_context(torch.enable_grad())
        # What TorchScript would do after some runs, to run faster, differs from the first runs in its last bits.
        stack.enter_context(torch.jit.optimized_execution(False))  # type: ignore[attr-defined]  # PyTorch forgot to list it
        yield


class Step:
    """A step for batches of one form, in the fastest of several ways that does what the definition does.

    Args:
        trace: a batch's size -> the graph of a step.
        size: how many examples the first batch has.
        rewritings: ways to run a traced graph, the best first; None runs it as FX does.

    Raises:
        CannotFuse: it is no straight line of operators, or there is no way to run it.

    Attributes:
        graph: what was traced.
        function: what runs it.
        constants: the function's own inputs, after those of the batch.
        checked: for each size of a batch that it met, whether `function` is right for it.
        varies: whether its numbers depend on the optimiser's count of steps.
    """

    def __init__(self, trace: Callable[[int], Graph], size: int, rewritings: Sequence[Rewriting | None]) -> None:
        self.size = max(size, 2)  # for some operators a batch of one example has no axis
        self.graph = graph = trace(self.size)
        self.checked: dict[int, bool] = {}
        self.varies = any(number.varies for number in graph.numbers)
        self._ways = list(rewritings)
        self.function: Function
        self.constants: list[Tensor]
        self._larger: Graph | None = None
        with suppress(CannotFuse):
            self._larger = trace(self.size + 1)
        self._next_way("TorchScript refuses the graph of a step")

    def numbers(self, steps: int, factor: float) -> list[float]:
        """Its last inputs, after so many steps of the optimiser."""
        return [float(number.value(steps, factor)) for number in self.graph.numbers]

    def counted(self, steps: int, factor: float) -> int:
        """The optimiser's count of steps after one more."""
        after = self.graph.steps
        return int(after.value(steps, factor)) if isinstance(after, Later) else after

    def check(self, size: int, alike: Callable[[], bool]) -> bool:
        """Whether `function` is right for batches of a size, which is then known.

        Args:
            size: of a batch that there was none of before.
            alike: whether a step from where the client stands comes out as the definition has it.

        Raises:
            CannotFuse: in no way it does what the definition does.
        """
        right = (self._any_size or size == self.size) and alike()
        while not right and not any(self.checked.values()) and size == self.size:
            self._next_way("a step that was traced differs from the definition's")
            self.checked.clear()
            right = alike()
        self.checked[size] = right
        return right

    def _next_way(self, otherwise: str) -> None:
        while self._ways:
            way = self._ways.pop(0)
            for larger in (self._larger, None):
                try:
                    self.function, self.constants = _made(self.graph, larger, self.size, way)
                except CannotFuse:
                    continue
                self._any_size = larger is not None and way is not None
                return
        raise CannotFuse(otherwise)


def of_size(batch: Sequence[Tensor], size: int) -> list[Tensor]:
    """Zeros in the form of a batch, but of so many examples."""
    return [tensor.new_zeros((size, *tensor.shape[1:])) for tensor in batch]


def _made(graph: Graph, larger: Graph | None, size: int, way: Rewriting | None) -> tuple[Function, list[Tensor]]:
    """(the function, the constants that it takes)."""
    if way is None:
        return _plain(graph), []
    one, other = _rewritten(graph, way), _rewritten(larger or graph, way)
    constants: list[Tensor] = []
    sizes = (size, size + 1)
    return source.compiled(one, graph.module, constants, (graph.fields, len(graph.numbers)), sizes, other), constants


def _rewritten(graph: Graph, way: Rewriting) -> fx.Graph:
    rewritten = copy.deepcopy(graph.module.graph)
    way(rewritten)
    return rewritten


def _plain(graph: Graph) -> Function:
    """The operators called one by one from Python."""
    dtypes = graph.dtypes

    def function(*inputs: Any) -> list[Tensor]:
        *tensors, _, steps = inputs
        first = len(tensors) - graph.fields
        batches, moved, begun = tensors[first:], tensors[: graph.values], tensors[graph.values : first]
        for place, row in enumerate(steps):
            numbers = (torch.tensor(number, dtype=dtype) for number, dtype in zip(row, dtypes, strict=True))
            moved = list(graph.module.forward(*moved, *begun, *(each[place] for each in batches), *numbers))
        return moved

    return function
