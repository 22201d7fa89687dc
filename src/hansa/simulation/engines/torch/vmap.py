"""The vmap engines: K clients' steps at once, on parameters stacked along a new first axis.

Clients of different sizes are trained beside each other: a smaller batch is filled up with examples that count nothing, and a
client that has ended stays where it is. This file must not know how a graph is traced or compiled.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from hansa.core.keys import Key
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import MissingExtra
from hansa.models import Batch, Gradient, Resident
from hansa.models.torch import TorchModel
from hansa.simulation.engines.engine import CannotFuse, EngineKind, Trainer
from hansa.simulation.engines.torch import passes
from hansa.simulation.engines.torch.alike import close
from hansa.simulation.engines.torch.batches import Form, Run, runs
from hansa.simulation.engines.torch.compiled import Step, running
from hansa.simulation.engines.torch.graphs import Graph, stepped, straight_line
from hansa.simulation.engines.torch.numbers import Later, Numbers
from hansa.simulation.engines.torch.start import Start, torch_model
from hansa.training import LocalTraining

try:
    import torch
    from torch import Tensor, fx
    from torch.func import grad_and_value, vmap
except ImportError as missing:
    raise MissingExtra.of("PyTorch", "torch", "its engines") from missing


@dataclass(frozen=True)
class Masked:
    """What a step needs of a model, for one batch of which some examples count nothing.

    Attributes:
        model: whose loss is a mean over examples.
        counts: 1 for an example that counts and 0 for one that does not, shape (batch,); None where all do.
    """

    model: TorchModel
    counts: Tensor | None

    def gradient(self, params: Resident, batch: Batch, key: Key) -> Gradient:  # noqa: ARG002 - nothing is random
        """Loss and gradient; the loss as a share of a batch that were full, for whoever multiplies it by its size."""
        tensors = cast("tuple[Tensor, ...]", tuple(batch.values()))
        fixed = {name: leaf for name, leaf in params.items() if name in self.model.buffers}
        self.model._module.train()

        def mean(trained: Resident) -> Tensor:
            loss, outputs = self.model._loss({**trained, **fixed}, tensors)
            if self.counts is None:
                return loss
            losses = vmap(lambda output, label: self.model.loss(output[None], label[None]))(outputs, tensors[-1])
            counted = torch.where(self.counts > 0, losses, torch.zeros_like(losses))
            return counted.sum() / self.counts.sum().clamp(min=1).to(losses.dtype)

        trained = {name: leaf for name, leaf in params.items() if name not in fixed}
        gradient, loss = grad_and_value(mean)(trained)
        wide = loss.to(torch.promote_types(loss.dtype, torch.float32))
        share = 1 if self.counts is None else self.counts.mean()
        return Gradient(wide * share, gradient, fixed)


class Vmapped:
    """Trains up to `clients` clients at once.

    Args:
        training: what is computed.
        device: where.
        clients: how many at once.

    Raises:
        CannotFuse: it is not a training that PyTorch's engines know, or its optimisers go on from where each stood.
    """

    exact = False

    def __init__(self, training: LocalTraining, device: str, clients: int) -> None:
        torch_model(training)
        if training.optimizer_state != "reset":
            raise CannotFuse("clients side by side all begin with a new optimiser, and these go on with theirs")
        self.name, self.chunk = f"vmap-{clients}", clients
        self._training, self._device = training, device
        self._steps: dict[object, Step] = {}

    def trainer(self, broadcast: Tree) -> Trainer:
        """What trains clients from one broadcast."""
        start = Start.of(self._training, broadcast, self._device)

        def trained(contexts: Sequence[ClientContext]) -> list[Update]:
            with running():
                return self._trained(start, contexts)

        return trained

    def _trained(self, start: Start, contexts: Sequence[ClientContext]) -> list[Update]:
        if len({context.round for context in contexts}) > 1:
            raise CannotFuse("clients side by side are of one round")
        factor, count = self._training.schedule(contexts[0].round), start.steps
        values = [torch.stack([value] * self.chunk) for value in start.values]
        examples, loss = [0] * len(contexts), None
        feeds = [
            itertools.chain.from_iterable(run.single() for run in runs(self._training, context, self._device))
            for context in contexts
        ]
        for row in itertools.zip_longest(*feeds):
            side = _SideBySide.of(row, self.chunk)
            step = self._step(start, side)
            loss = step.graph.loss.to(self._device) if loss is None else loss
            there = _Stand(start, [*values, loss], side, count, factor)
            if side.width not in step.checked:
                step.check(side.width, partial(there.alike, step))
            if not step.checked[side.width]:
                raise CannotFuse(f"clients side by side, batches of {side.width}, differ from the definition's")
            *values, loss = there.moved(step)
            count = step.counted(count, factor)
            examples = [had + size for had, size in zip(examples, side.sizes, strict=False)]
        summed = [float(each) for each in loss] if loss is not None else []
        return [
            start.update([value[place] for value in values], count, summed[place], examples[place], context)
            for place, context in enumerate(contexts)
        ]

    def _step(self, start: Start, side: _SideBySide) -> Step:
        values = tuple((value.shape, value.dtype) for value in start.values)
        key = start.form, values, side.form, side.masked
        if key not in self._steps:

            def quickly(graph: fx.Graph) -> None:
                passes.move_in_place(graph, len(start.values))
                passes.reuse_memory(graph, len(start.values))

            with torch.inference_mode(mode=False):
                self._steps[key] = Step(lambda size: _traced(start, side, size), side.width, [quickly, None])
        return self._steps[key]


@dataclass(frozen=True)
class _SideBySide:
    """A batch of each of several clients.

    Attributes:
        sizes: how many examples each has; none where a client has ended, or there is none.
        width: how many there is room for.
        form: what an example looks like.
        tensors: inputs and target, shape (clients, width, ...); then, where not everybody's batch is as wide, which examples
            count, shape (clients, width).
    """

    sizes: list[int]
    width: int
    form: Form
    tensors: list[Tensor]

    @property
    def masked(self) -> bool:
        """Whether some examples count nothing."""
        return len(self.tensors) > len(self.form)

    @classmethod
    def of(cls, row: Sequence[Run | None], clients: int) -> _SideBySide:
        """The batches of clients, None for who has ended, in room for so many clients."""
        present = [batch for batch in row if batch is not None]
        form = present[0].form
        if any(batch.form != form for batch in present):
            raise CannotFuse("clients' examples differ in shape or dtype")
        sizes = [batch.size if batch is not None else 0 for batch in row] + [0] * (clients - len(row))
        width = max(sizes)
        if min(sizes) == width:
            return cls(
                sizes, width, form, [torch.stack(each) for each in zip(*(b.first for b in present), strict=True)]
            )
        filled = [_filled(batch or present[0], width) for batch in (*row, *[None] * (clients - len(row)))]
        tensors = [torch.stack(each) for each in zip(*filled, strict=True)]
        counts = torch.arange(width) < torch.tensor(sizes)[:, None]
        return cls(sizes, width, form, [*tensors, counts.float().to(tensors[0].device)])


def _filled(batch: Run, width: int) -> list[Tensor]:
    """A batch with its first example again and again behind it."""
    if batch.size == width:
        return list(batch.first)
    room = width - batch.size
    return [torch.cat([each, each[:1].expand(room, *each.shape[1:])]) for each in batch.first]


def _traced(start: Start, side: _SideBySide, size: int) -> Graph:
    """The graph of a step of all clients at once."""
    model, clients = torch_model(start.training), len(side.sizes)
    counts = len(start.values), 1, len(start.form.trained), len(side.form), int(side.masked)

    def step(numbers: Numbers, inputs: Sequence[Tensor]) -> tuple[list[Tensor], int | Later]:
        parts, counted = iter(inputs), list[int | Later]()
        values, loss, begun, batch, mask = ([next(parts) for _ in range(count)] for count in counts)

        def one(values: Any, loss: Tensor, batch: Any, mask: Any) -> list[Tensor]:
            through, known = Masked(model, mask[0] if mask else None), (numbers.steps, numbers.factor)
            moved, summed, steps = stepped(start, values, loss, begun, batch, *known, through)
            counted.append(steps)
            return [*moved, summed]

        *moved, summed = vmap(one)(values, loss[0], batch, mask)
        if mask:
            there = mask[0].any(1)
            moved = [
                torch.where(there.view(-1, *[1] * (new.ndim - 1)), new, old)
                for new, old in zip(moved, values, strict=True)
            ]
        return [*moved, summed], counted[0]

    stacked = [value.new_zeros((clients, *value.shape)) for value in (*start.values, start.loss)]
    batch = [each.new_zeros((clients, size, *each.shape[2:])) for each in side.tensors]
    with warnings.catch_warnings():
        # PyTorch warns of operators that it would do for one client after the other.
        warnings.simplefilter("error", UserWarning)
        return straight_line(step, [*stacked, *start.begun, *batch], start)


@dataclass(frozen=True)
class _Stand:
    """Where clients stand before a step: their values and losses stacked, their batches, the optimiser's count and factor."""

    start: Start
    values: list[Tensor]
    side: _SideBySide
    count: int
    factor: float

    def moved(self, step: Step) -> list[Tensor]:
        """The values and losses after a step."""
        begun = self.start.begun if step.graph.started else []
        tensors = [*self.values, *begun, *(each[None] for each in self.side.tensors), *step.constants]
        return step.function(*tensors, self.side.width, [step.numbers(self.count, self.factor)])

    def alike(self, step: Step) -> bool:
        """Whether the client with the smallest batch comes out of a step as the definition has it."""
        side = self.side
        place = min((place for place, size in enumerate(side.sizes) if size), key=side.sizes.__getitem__)
        found = [value[place] for value in replace(self, values=[value.clone() for value in self.values]).moved(step)]
        with torch.inference_mode(mode=False):
            *values, loss = before = [value[place].clone() for value in self.values]
            batch = [each[place, : side.sizes[place]].clone() for each in side.tensors[: len(side.form)]]
            after, summed, _ = stepped(self.start, values, loss, self.start.begun, batch, self.count, self.factor)
        return all(map(close, found, [*(value.detach() for value in after), summed.detach()], before))


def side_by_side(clients: int) -> EngineKind:
    """The kind of engine that trains so many clients at once."""
    return lambda training, device: Vmapped(training, device, clients)
