"""Local training: a client's optimiser steps on its own examples, in step form.

`init`, `step` and `finish` are pure functions, so that an executor may run them one after another (as `__call__` does, which
is the definition), or fuse, compile or vectorise them. This file must not know of rounds, servers or other clients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hansa.core import tree
from hansa.core.keys import Key
from hansa.core.metrics import Mean, Metrics
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import ConfigError, DataError
from hansa.models import Batch, CompilingModel, Model, Resident
from hansa.training import kept
from hansa.training.gradients import Chain, GradientTransform
from hansa.training.optimizers import Optimizer, OptimizerState
from hansa.training.schedules import Constant, Schedule


@dataclass(frozen=True)
class LocalState:
    """Where a client's training stands.

    Attributes:
        params: today's parameters and buffers, the framework's own.
        start: those that the client was given, the framework's own.
        optimizer: the optimiser's state.
        steps: how many batches were trained on.
        examples: how many examples they held.
        loss: the sum of their losses over these examples, the framework's own: nobody has waited for it yet.
        key: the randomness of this visit.
        factor: of the learning rate in this round.
    """

    params: Resident
    start: Resident
    optimizer: OptimizerState
    steps: int
    examples: int
    loss: Any
    key: Key
    factor: float


@dataclass(frozen=True)
class LocalTraining:
    """Train a model on the client's "train" split; the update is what moves the broadcast parameters to the trained ones.

    The update's weight is the number of the client's examples, its metric "loss" the mean over the examples trained on, each
    taken before the step that it led to.

    Attributes:
        model: what is trained.
        optimizer: how.
        batch_size: examples a batch; the last batch of an epoch may be smaller.
        epochs: passes over the client's examples, reshuffled for each; None for as many as `steps` needs.
        steps: at most so many batches; None for no limit. At least one of the two is given.
        drop_remainder: leave out the smaller batch at the end of each epoch, which BatchNorm cannot take if it is of one.
        schedule: multiplies the learning rate, by round.
        gradient: changes every gradient before it is used.
        optimizer_state: what becomes of the optimiser between visits: "reset" begins anew at every visit; "keep" goes on from
            where this client's stood, which is its private state and never travels; "federate" averages the cohort's beside the
            model, which takes an algorithm that carries it, such as FedAvg.
    """

    model: Model
    optimizer: Optimizer
    batch_size: int = 32
    epochs: int | None = None
    steps: int | None = None
    drop_remainder: bool = False
    schedule: Schedule = Constant()
    gradient: GradientTransform = Chain()
    optimizer_state: kept.Policy = "reset"

    def __post_init__(self) -> None:
        kept.check_policy(self.optimizer_state)
        if self.epochs is None and self.steps is None:
            raise ConfigError("local training without an end", hint="give epochs=..., or steps=..., or both")
        for name in ("batch_size", "epochs", "steps"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise ConfigError(f"{name} is at least 1, not {number}")

    @property
    def buffers(self) -> frozenset[str]:
        """The leaves of its updates that no optimiser should touch, at the server either."""
        return self.model.buffers

    def carried(self, params: Tree) -> Tree:
        """The form of the optimiser's leaves, where they are federated; see `hansa.training.kept.Carrying`."""
        if self.optimizer_state != "federate":
            return {}
        trained = _without(self.model.load(params, "cpu"), self.model.buffers)
        return kept.packed(self.optimizer.init(trained), self.model)

    def with_gradient(self, transform: GradientTransform) -> LocalTraining:
        """The same training with one gradient transform more, applied after the present one."""
        return replace(self, gradient=Chain((self.gradient, transform)))

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        """The work: `broadcast` is the model's parameters and buffers, and the optimiser's leaves where they are federated.

        Raises:
            DataError: the client has nothing to train on.
        """
        state = self.init(broadcast, context)
        batches = self.batches(context)
        of = self._steps(len(context.data["train"]))
        for batch in batches:
            state = self.step(state, batch)
            context.progress(state.steps, of)
        return self.finish(state, broadcast, context)

    def batches(self, context: ClientContext) -> Iterator[Batch]:
        """The batches of one visit, the same whenever it is repeated."""
        examples = context.data.get("train")
        if examples is None or not len(examples):
            raise DataError(
                "there are no examples to train on",
                where=f"client {context.id!r}",
                hint='give the client data in its "train" split, or leave it out of the cohort',
            )
        key, limits = context.key.child("shuffle"), {"epochs": self.epochs, "steps": self.steps}
        batches: Iterator[Batch] = examples.shuffle_repeat(
            self.batch_size, key, drop_remainder=self.drop_remainder, **limits
        )
        return batches

    def _steps(self, examples: int) -> int:
        """How many batches one visit takes."""
        epoch = examples // self.batch_size if self.drop_remainder else -(-examples // self.batch_size)
        return min(each for each in (self.epochs and self.epochs * epoch, self.steps) if each is not None)

    def init(self, broadcast: Tree, context: ClientContext) -> LocalState:
        """Before the first step."""
        params, carried = kept.parted(broadcast)
        start = self.model.load(params, context.device)
        if leaves := kept.remembered(self.optimizer_state, carried, context):
            optimizer = kept.unpacked(leaves, self.model, context.device)
        else:
            optimizer = self.optimizer.init(_without(start, self.model.buffers))
        loss = self.model.zero(context.device) if isinstance(self.model, CompilingModel) else 0.0
        return LocalState(start, start, optimizer, 0, 0, loss, context.key, self.schedule(context.round))

    def step(self, state: LocalState, batch: Batch) -> LocalState:
        """One batch."""
        key = state.key.child("step", state.steps)
        loss, gradient, buffers = self.model.gradient(state.params, batch, key)
        trained = {name: state.params[name] for name in gradient}
        start = {name: state.start[name] for name in gradient}
        before, size = state.optimizer, len(next(iter(batch.values())))
        trained, slots, steps, total = self._moved(
            gradient, trained, start, dict(before.slots), before.steps, state.factor, state.loss, loss, float(size)
        )
        return replace(
            state,
            params={**state.params, **trained, **buffers},
            optimizer=OptimizerState(steps, slots),
            steps=state.steps + 1,
            examples=state.examples + size,
            loss=total,
        )

    @cached_property
    def _moved(self) -> Callable[..., tuple[Tree, dict[str, Tree], int, Any]]:
        """What follows a gradient, as one function, compiled where the model's framework does that.

        That is the gradient transform, the optimiser, and the sum of the losses.
        """

        def moved(
            gradient: Tree,
            trained: Tree,
            start: Tree,
            slots: dict[str, Tree],
            steps: int,
            factor: float,
            total: Any,
            loss: Any,
            size: float,
        ) -> tuple[Tree, dict[str, Tree], int, Any]:
            gradient, before = self.gradient(gradient, trained, start), OptimizerState(steps, slots)
            trained, after = self.optimizer.step(trained, gradient, before, factor)
            return trained, dict(after.slots), after.steps, total + loss * size

        return self.model.compiled(moved) if isinstance(self.model, CompilingModel) else moved

    def finish(self, state: LocalState, broadcast: Tree, context: ClientContext) -> Update:
        """After the last step."""
        change = tree.difference(self.model.dump(state.params), kept.parted(broadcast)[0])
        loss = Mean.of(float(state.loss) / state.examples, state.examples)
        update = Update(change, float(len(context.data["train"])), Metrics({"loss": loss}))
        optimizer = {} if self.optimizer_state == "reset" else kept.packed(state.optimizer, self.model)
        return kept.passed_on(self.optimizer_state, update, optimizer)


def _without(params: Mapping[str, Any], names: frozenset[str]) -> Resident:
    return {name: leaf for name, leaf in params.items() if name not in names}
