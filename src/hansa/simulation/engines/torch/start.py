"""What all clients of an ask start from, as tensors in a fixed order, and the update of one that has ended.

This file must not know how steps are computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from hansa.core import tree
from hansa.core.metrics import Mean, Metrics
from hansa.core.tree import Array, Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import MissingExtra
from hansa.models.torch import TorchModel
from hansa.simulation.engines.engine import CannotFuse
from hansa.training import LocalTraining, kept
from hansa.training.optimizers import OptimizerState

try:
    import torch
    from torch import Tensor
except ImportError as missing:
    raise MissingExtra.of("PyTorch", "torch", "its engines") from missing


def torch_model(training: LocalTraining) -> TorchModel:
    """The model of a training that these engines know to the last line.

    Raises:
        CannotFuse: it is of another kind, or somebody's own.
    """
    if type(training) is not LocalTraining or type(training.model) is not TorchModel:
        made_of = f"{type(training).__name__} with a {type(training.model).__name__}"
        raise CannotFuse(f"it is {made_of}, and the PyTorch engines know LocalTraining with a TorchModel")
    return training.model


@dataclass(frozen=True)
class Form:
    """The order of what a step changes: the model's leaves, then the optimiser's.

    Attributes:
        leaves: the model's, buffers included.
        trained: those of them that the optimiser moves.
        slots: (slot, leaf) of each of the optimiser's.
    """

    leaves: tuple[str, ...]
    trained: tuple[str, ...]
    slots: tuple[tuple[str, str], ...]

    def values(self, params: Mapping[str, Any], slots: Mapping[str, Mapping[str, Any]]) -> list[Any]:
        """The leaves of both in this order."""
        return [*(params[name] for name in self.leaves), *(slots[slot][name] for slot, name in self.slots)]

    def params(self, values: Sequence[Any]) -> dict[str, Any]:
        """The model's leaves by name."""
        return dict(zip(self.leaves, values, strict=False))

    def slots_of(self, values: Sequence[Any]) -> dict[str, Tree]:
        """The optimiser's leaves by slot and name."""
        slots: dict[str, Tree] = {}
        for (slot, name), value in zip(self.slots, values[len(self.leaves) :], strict=False):
            slots.setdefault(slot, {})[name] = value
        return slots


@dataclass(frozen=True)
class Start:
    """One ask's broadcast, loaded.

    Attributes:
        training: what is computed.
        device: where.
        broadcast: the model's leaves as they came.
        carried: the optimiser's, where they are federated.
        form: the order of `values`.
        values: the leaves of the model and of an optimiser that begins anew.
        steps: the count of such an optimiser.
    """

    training: LocalTraining
    device: str
    broadcast: Tree
    carried: Tree
    form: Form
    values: list[Tensor]
    steps: int

    @classmethod
    def of(cls, training: LocalTraining, broadcast: Tree, device: str) -> Start:
        """Load a broadcast."""
        params, carried = kept.parted(broadcast)
        model = torch_model(training)
        leaves = model.load(params, device)
        trained = {name: leaf for name, leaf in leaves.items() if name not in model.buffers}
        state = training.optimizer.init(cast("Tree", trained))
        slots = tuple((slot, name) for slot, part in state.slots.items() for name in part)
        form = Form(tuple(leaves), tuple(trained), slots)
        return cls(training, device, params, carried, form, form.values(leaves, state.slots), state.steps)

    @property
    def loss(self) -> Tensor:
        """No loss so far."""
        return torch.zeros((), device=self.device)

    @property
    def begun(self) -> list[Tensor]:
        """What the trained leaves start from, in their order."""
        params = self.form.params(self.values)
        return [params[name] for name in self.form.trained]

    def visit(self, context: ClientContext) -> tuple[list[Tensor], int]:
        """(the values that a client starts from, not to be written to, its optimiser's count of steps)."""
        leaves = kept.remembered(self.training.optimizer_state, self.carried, context)
        if not leaves:
            return self.values, self.steps
        state = kept.unpacked(leaves, self.training.model, self.device)
        own = [cast("Tensor", state.slots[slot][name]) for slot, name in self.form.slots]
        return [*self.values[: len(self.form.leaves)], *own], state.steps

    def update(
        self, values: Sequence[Tensor], steps: int, loss: float, examples: int, context: ClientContext
    ) -> Update:
        """What a client gives back that ended with these values, as `LocalTraining.finish` has it.

        Args:
            values: in the order of `form`; read before this returns.
            steps: the optimiser's count of them.
            loss: the sum over the examples.
            examples: how many there were.
            context: the client's.
        """
        change = {name: self._change(name, value) for name, value in zip(self.form.leaves, values, strict=False)}
        metrics = Metrics({"loss": Mean.of(loss / examples, examples)})
        update = Update(change, float(len(context.data["train"])), metrics)
        if self.training.optimizer_state == "reset":
            return update
        state = OptimizerState(steps, self.form.slots_of(values))
        return kept.passed_on(self.training.optimizer_state, update, kept.packed(state, self.training.model))

    def _change(self, name: str, value: Tensor) -> Array:
        """One pass over a leaf, where the definition copies it first."""
        before = self.broadcast[name]
        if value.dtype in (torch.float32, torch.float64) and before.dtype.isnative:
            return np.asarray(np.subtract(value.cpu().contiguous().numpy(), before))
        after = self.training.model.dump({name: value})
        return tree.difference(after, {name: before})[name]
