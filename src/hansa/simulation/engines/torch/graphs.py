"""The definition's own step as a straight line of PyTorch's operators: traced once, it needs no Python of the model's anymore.

What is traced is `LocalTraining.step` itself, so that every model, gradient transform and optimiser that is written with
operators of tensors is what it was. This file must not know who runs the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from hansa.core.keys import Key, key
from hansa.errors import MissingExtra
from hansa.models import Batch, Gradient, Model, Resident
from hansa.models.torch import TorchModel
from hansa.simulation.engines.engine import CannotFuse
from hansa.simulation.engines.torch.numbers import Later, Numbers
from hansa.simulation.engines.torch.start import Start, torch_model
from hansa.training.local import LocalState
from hansa.training.optimizers import OptimizerState

try:
    import torch
    from torch import Tensor, fx
    from torch.fx.experimental.proxy_tensor import make_fx
except ImportError as missing:
    raise MissingExtra.of("PyTorch", "torch", "its engines") from missing

aten = torch.ops.aten


@dataclass(frozen=True)
class Graph:
    """A step for batches of one size.

    Its inputs are the values of the form, the summed loss, what the trained leaves started from, the batch's tensors, and the
    numbers; its outputs the values and the summed loss after the step.

    Attributes:
        module: the operators, and the constants that they take.
        numbers: what its last inputs are.
        dtypes: of these, as tensors.
        steps: the optimiser's count after the step.
        values: how many outputs it has.
        fields: how many tensors a batch has.
        started: whether it has the inputs that trained leaves started from: only where it needs them.
        loss: a zero of the loss's dtype.
        random: whether it draws from PyTorch's generator.
    """

    module: fx.GraphModule
    numbers: tuple[Later, ...]
    dtypes: tuple[torch.dtype, ...]
    steps: int | Later
    values: int
    fields: int
    started: bool
    loss: Tensor
    random: bool


@dataclass(frozen=True)
class OnTensors:
    """What a step needs of a model, for batches that are tensors on the device; draws from PyTorch's generator as it stands."""

    model: TorchModel

    def gradient(self, params: Resident, batch: Batch, key: Key) -> Gradient:  # noqa: ARG002 - whoever calls has seeded
        """Loss, gradient and buffers."""
        return self.model.differentiated(params, cast("tuple[Tensor, ...]", tuple(batch.values())))


def stepped(
    start: Start,
    values: Sequence[Tensor],
    loss: Any,
    begun: Sequence[Tensor],
    batch: Sequence[Tensor],
    steps: Any,
    factor: Any,
    through: Any = None,
) -> tuple[list[Tensor], Any, Any]:
    """(values, summed loss, the optimiser's count) after one step of the definition.

    Args:
        start: of the ask.
        values: in the order of the form.
        loss: summed so far.
        begun: what the trained leaves started from.
        batch: inputs and target.
        steps: the optimiser's count.
        factor: of the learning rate.
        through: whose `gradient` is taken of these tensors; the training's model's own unless given.
    """
    form = start.form
    state = LocalState(
        params=form.params(values),
        start=dict(zip(form.trained, begun, strict=True)),
        optimizer=OptimizerState(steps, form.slots_of(values)),
        steps=0,
        examples=0,
        loss=loss,
        key=key(0),
        factor=factor,
    )
    named = {str(place): tensor for place, tensor in enumerate(batch)}
    training = replace(start.training, model=through or cast("Model", OnTensors(torch_model(start.training))))
    after = training.step(state, cast("Batch", named))
    if [(slot, name) for slot, part in after.optimizer.slots.items() for name in part] != list(form.slots):
        raise CannotFuse("the optimiser changes which slots it has")
    return form.values(after.params, after.optimizer.slots), after.loss, after.optimizer.steps


def traced(start: Start, batch: Sequence[Tensor]) -> Graph:
    """The graph of a step for batches like this one.

    Args:
        start: of an ask.
        batch: zeros will do.

    Raises:
        CannotFuse: it is no straight line of operators.
    """
    counts = len(start.values), 1, len(start.form.trained), len(batch)

    def step(numbers: Numbers, inputs: Sequence[Tensor]) -> tuple[list[Tensor], int | Later]:
        parts = iter(inputs)
        values, loss, begun, tensors = ([next(parts) for _ in range(count)] for count in counts)
        moved, summed, steps = stepped(start, values, loss[0], begun, tensors, numbers.steps, numbers.factor)
        return [*moved, summed], steps

    with torch_model(start.training).seeded(key(0), start.device):
        return straight_line(step, [*start.values, start.loss, *start.begun, *batch], start)


def straight_line(
    step: Callable[[Numbers, Sequence[Tensor]], tuple[list[Tensor], int | Later]],
    inputs: Sequence[Tensor],
    start: Start,
) -> Graph:
    """The graph of a function of tensors and numbers known later.

    Args:
        step: (numbers, inputs) -> (the values and the loss after it, the optimiser's count of steps).
        inputs: like those that it will have: first the values, then the loss, whose dtype is found out.
        start: of the ask.

    Raises:
        CannotFuse: it is no straight line of operators.
    """
    # Zeros: whatever were taken out of tensors and baked into the graph would not stand the comparison with real ones.
    values = len(start.values)
    zeros, first = [torch.zeros_like(each) for each in inputs], Numbers()
    try:
        with torch.enable_grad():
            after, steps = step(first, zeros)
            _check_alike(after[:-1], zeros[:values])
            zeros[values] = torch.zeros_like(after[-1])
            ones = [torch.ones((), dtype=dtype) for _, dtype in first.met]

            def of_tensors(*flat: Tensor) -> list[Tensor]:
                return step(Numbers(flat[len(zeros) :]), flat[: len(zeros)])[0]

            module = make_fx(of_tensors)(*zeros, *ones)
    except CannotFuse:
        raise
    except Exception as problem:
        said = str(problem).strip().split("\n")[0][:200]
        raise CannotFuse(f"a step cannot be traced: {type(problem).__name__}: {said}") from problem
    operators = [node.target for node in module.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    _without_copies(module.graph)
    started = _without_unused(module.graph, values + 1, values + 1 + len(start.form.trained))
    module.recompile()
    return Graph(
        module=module,
        numbers=tuple(number for number, _ in first.met),
        dtypes=tuple(dtype for _, dtype in first.met),
        steps=steps,
        values=values + 1,
        fields=len(inputs) - values - 1 - len(start.form.trained),
        started=started,
        loss=zeros[values],
        random=any(torch.Tag.nondeterministic_seeded in operator.tags for operator in operators),
    )


def _check_alike(after: Sequence[Tensor], before: Sequence[Tensor]) -> None:
    if any((new.shape, new.dtype) != (old.shape, old.dtype) for new, old in zip(after, before, strict=True)):
        raise CannotFuse("a step changes the shape or the dtype of what it moves")


def _without_copies(graph: fx.Graph) -> None:
    """Take out what detaches from a history that the graph has not got, transposes twice, or clones what is not changed."""
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        source: Any = node.args[0] if node.args else None
        twice = node.target is aten.t.default and getattr(source, "target", None) is aten.t.default
        if node.target in (aten.detach.default, aten.alias.default):
            node.replace_all_uses_with(source)
        elif twice:
            node.replace_all_uses_with(source.args[0])
        elif node.target is aten.clone.default and source.op == "placeholder" and not _changed(node):
            node.replace_all_uses_with(source)
    graph.eliminate_dead_code()


def _without_unused(graph: fx.Graph, first: int, end: int) -> bool:
    """Take out the inputs from one place to another if none of them is used; whether they are."""
    inputs = [node for node in graph.nodes if node.op == "placeholder"][first:end]
    if used := any(node.users for node in inputs):
        return used
    for node in inputs:
        graph.erase_node(node)
    return used


def _changed(node: fx.Node) -> bool:
    """Whether an operator may write to what a node gives, or give a view of it to one that does."""
    for user in node.users:
        if user.op == "output":
            continue
        schema = user.target._schema if isinstance(user.target, torch._ops.OpOverload) else None
        # Batch normalisation writes to its statistics, and its schema does not say so.
        if schema is None or schema.is_mutable or "batch_norm" in schema.name:
            return True
        if any(result.alias_info is not None for result in schema.returns) and _changed(user):
            return True
    return False
