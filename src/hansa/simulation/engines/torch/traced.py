"""The traced engine: every client's steps by one straight line of operators, with the definition's bits; and its faster sister.

"traced" is exact: what it runs is compared with the definition at the first batch of every size, bit by bit. "script" gives up
the last bits for fewer passes over the parameters. This file must not know how a step was traced.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import MissingExtra
from hansa.simulation.engines.engine import Trainer
from hansa.simulation.engines.torch import graphs, passes
from hansa.simulation.engines.torch.alike import close, same_bits
from hansa.simulation.engines.torch.batches import Run, runs
from hansa.simulation.engines.torch.compiled import Rewriting, Step, of_size, running
from hansa.simulation.engines.torch.start import Start, torch_model
from hansa.training import LocalTraining

try:
    import torch
    from torch import Tensor, fx
except ImportError as missing:
    raise MissingExtra.of("PyTorch", "torch", "its engines") from missing


class Traced:
    """Runs one traced step again and again.

    Args:
        training: what is computed.
        device: where.
        exact: whether to the definition's bits.

    Raises:
        CannotFuse: it is not a training that PyTorch's engines know.
    """

    chunk = 1

    def __init__(self, training: LocalTraining, device: str, *, exact: bool = True) -> None:
        torch_model(training)
        self.name, self.exact = "traced" if exact else "script", exact
        self._training, self._device = training, device
        self._steps: dict[object, Step] = {}
        self._room: list[Tensor] = []

    def trainer(self, broadcast: Tree) -> Trainer:
        """What trains clients from one broadcast."""
        start = Start.of(self._training, broadcast, self._device)
        return lambda contexts: [self._trained(start, context) for context in contexts]

    def _trained(self, start: Start, context: ClientContext) -> Update:
        visit, form = _Visit(start, context, self._room, exact=self.exact), None
        with ExitStack() as stack:
            stack.enter_context(running())
            for run in runs(self._training, context, self._device):
                if run.form != form:
                    form, step = run.form, self._step(start, run)
                    if step.graph.random and not visit.random:
                        stack.enter_context(torch_model(self._training).seeded(context.key, self._device))
                    visit.begin(step)
                visit.take(run)
            return visit.update()

    def _step(self, start: Start, run: Run) -> Step:
        """The step for batches of this form; traced at the first of them."""
        values = tuple((value.shape, value.dtype) for value in start.values)
        key = start.form, values, run.form
        if key not in self._steps:
            with torch.inference_mode(mode=False):
                ways = _ways(len(start.values), exact=self.exact)
                self._steps[key] = Step(lambda size: graphs.traced(start, of_size(run.first, size)), run.size, ways)
        return self._steps[key]


def traced(training: LocalTraining, device: str) -> Traced:
    """The definition's bits; an EngineKind."""
    return Traced(training, device)


def script(training: LocalTraining, device: str) -> Traced:
    """Its numbers within rounding, faster; an EngineKind."""
    return Traced(training, device, exact=False)


def _ways(values: int, *, exact: bool) -> list[Rewriting | None]:
    """How a graph that begins with so many values is run, the best first."""

    def exactly(graph: fx.Graph) -> None:
        passes.keep_linear(graph)
        passes.sum_at_once(graph)
        passes.reuse_memory(graph, values)

    def quickly(graph: fx.Graph) -> None:
        passes.keep_linear(graph)
        passes.sum_at_once(graph)
        passes.move_in_place(graph, values)
        passes.reuse_memory(graph, values)

    return [exactly, None] if exact else [quickly, exactly, None]


class _Visit:
    """One client's training, step by step.

    Args:
        start: of the ask.
        context: the client's.
        room: memory for values, which steps may write over, from visit to visit; the first one makes it.
        exact: whether to the definition's bits.
    """

    def __init__(self, start: Start, context: ClientContext, room: list[Tensor], *, exact: bool) -> None:
        self._start, self._context, self._exact = start, context, exact
        self._factor = start.training.schedule(context.round)
        self._values, self._count = start.visit(context)
        if [(each.shape, each.dtype) for each in room] != [(value.shape, value.dtype) for value in self._values]:
            room[:] = [torch.empty_like(value) for value in self._values]
        torch._foreach_copy_(room, self._values)
        self._values = list(room)
        self._loss: Any = None
        self._taken = self._examples = 0
        self.random = False

    def begin(self, step: Step) -> None:
        """Go on with batches of this step's form."""
        self._step, self.random = step, step.graph.random
        if self._loss is None:
            self._loss = step.graph.loss
        self._begun = self._start.begun if step.graph.started else []

    def take(self, run: Run) -> None:
        """A step for each batch."""
        right = self._step.checked.get(run.size)
        if right is None:
            right = self._step.check(run.size, lambda: self._alike(next(run.single())))
        if run.batches > 1 and (self.random or not right):
            for batch in run.single():
                self.take(batch)
            return
        if self.random:
            self._seed()
        *self._values, self._loss = self._ran(self._values, run) if right else self._defined(run)
        for _ in range(run.batches):
            self._count = self._step.counted(self._count, self._factor)
        self._taken += run.batches
        self._examples += run.batches * run.size

    def update(self) -> Update:
        """What comes of it."""
        return self._start.update(self._values, self._count, float(self._loss), self._examples, self._context)

    def _seed(self) -> None:
        seed = self._context.key.child("step", self._taken).integer(63)
        if self._start.device == "cpu":
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)

    def _ran(self, values: Sequence[Tensor], run: Run) -> list[Tensor]:
        """The values and the loss after the traced steps."""
        step, count = self._step, self._count
        numbers = [step.numbers(count, self._factor)] * run.batches
        if step.varies:
            for place in range(1, run.batches):
                count = step.counted(count, self._factor)
                numbers[place] = step.numbers(count, self._factor)
        tensors = [*values, self._loss, *self._begun, *run.tensors, *step.constants]
        return step.function(*tensors, run.size, numbers)

    def _defined(self, batch: Run) -> list[Tensor]:
        """The values and the loss after the definition's step."""
        with torch.inference_mode(mode=False):  # where tensors have a history
            values, tensors = [value.clone() for value in self._values], [tensor.clone() for tensor in batch.first]
            after, loss, _ = graphs.stepped(
                self._start, values, self._loss.clone(), self._start.begun, tensors, self._count, self._factor
            )
            return [*(value.detach() for value in after), loss.detach()]

    def _alike(self, batch: Run) -> bool:
        """Whether a step from here is the definition's."""
        self._seed()
        expected = self._defined(batch)
        self._seed()
        found = self._ran([value.clone() for value in self._values], batch)
        before = [*self._values, self._loss]
        return all(map(same_bits, found, expected)) if self._exact else all(map(close, found, expected, before))
