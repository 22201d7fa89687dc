"""Tasks: a client's work made of plain functions, done one after the other in one visit.

They bring an existing training pipeline along as it is. What the functions are given, and how what they return becomes an
update, is here; this file must not know of rounds, servers or other clients, or which framework they are written for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import combinations
from typing import Any

from hansa.core import tree
from hansa.core.ask import AggregationRule
from hansa.core.history import MODEL
from hansa.core.metrics import Metrics
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Settings, Update
from hansa.data import ClientDataset
from hansa.errors import ConfigError, UnknownName
from hansa.models.model import NativeModel
from hansa.training import kept
from hansa.training.tasks.batches import Batches, size
from hansa.training.tasks.factory import EXAMPLE, OptimizerFactory
from hansa.training.tasks.framework import batch_of, native_of, seeded, set_mode
from hansa.training.tasks.returned import Returned, no_examples, returned
from hansa.training.tasks.settings import Setting, resolved
from hansa.training.tasks.task import Task

OPTIMIZER = "optimizer"
"""Whose settings an optimiser's are: "optimizer/lr"."""


@dataclass(frozen=True, init=False)
class Tasks:
    """One or more tasks in one visit, on one native object of the model, in their order.

    Where one trains, the update is the change of the model, its weight the number of the client's training examples. Where none
    does, it is an evaluation, and the update carries no arrays. Metrics are named "task/metric"; of a single task, "metric".

    PyTorch's, NumPy's and Python's global generators are seeded for each task, and put back.

    Args:
        model: gives the native object that the tasks work on.
        tasks: functions marked with `task`; the same one again under another name is given as `("another_name", function)`.
        optimizer: makes the optimiser from the native object, such as `lambda model: torch.optim.Adam(model.parameters())`; may
            have settings, as tasks do: `lambda model, *, lr=0.1: torch.optim.SGD(model.parameters(), lr=lr)`.
        batch_size: examples a batch, where a client's data are a ClientDataset.
        settings: of the tasks and the optimiser, or a function of the round that gives them; an ask's overlay them. "clip" goes
            to every function with a setting `clip`, "train/clip" to the task "train", "optimizer/lr" to the optimiser.
        optimizer_state: what becomes of the optimiser between visits: "reset", "keep" or "federate"; see `LocalTraining`.
        rule: how the clients' changes become one, instead of by the tasks' own rules or their mean.

    Raises:
        ConfigError: there is no task, one is not marked, two have one name, two rules are for the same leaves, an optimiser
            is missing or not used, or the model's framework has no object for it.
        UnknownName: a setting that no function has, or an unknown `optimizer_state`.
    """

    model: NativeModel
    tasks: tuple[tuple[str, Task], ...]
    batch_size: int
    settings: Settings | Callable[[int], Settings]
    rule: AggregationRule[Any] | None
    factory: OptimizerFactory | None
    owners: Mapping[str, Mapping[str, Setting]] = field(repr=False)

    def __init__(
        self,
        model: NativeModel,
        *tasks: Task | tuple[str, Task],
        optimizer: Callable[..., Any] | None = None,
        batch_size: int = 32,
        settings: Settings | Callable[[int], Settings] | None = None,
        optimizer_state: kept.Policy = "reset",
        rule: AggregationRule[Any] | None = None,
    ) -> None:
        named = tuple(_named(each) for each in tasks)
        _check(model, named, batch_size)
        _check_rules([] if rule is not None else [task for _, task in named if task.train])
        factory = _factory(model, named, optimizer, optimizer_state)
        owners = {label: task.settings for label, task in named} | ({OPTIMIZER: factory.settings()} if factory else {})
        values = (model, named, batch_size, settings or {}, rule, factory, owners)
        for each, value in zip(fields(self), values, strict=True):
            object.__setattr__(self, each.name, value)
        if not callable(settings):
            self._values(1)  # refuses settings that nobody has

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        """The work: `broadcast` is the model's parameters and buffers, and the optimiser's leaves where they are federated.

        Raises:
            DataError: the client has nothing in the split that a task asks for.
            ConfigError: a task returned something else than metrics, or a setting of the ask has another type.
            TreeMismatch: a task changed the names, shapes or dtypes of the parameters.
            UnknownName: a setting of the ask that no function has, or no leaf begins with a task's `leaves`.
        """
        params, carried = kept.parted(broadcast)
        values = self._values(context.round, context.settings, f"client {context.id!r}, the ask's settings")
        native = native_of(self.model, params, context.device, context.key.child("native"))
        optimizer = self.factory and self.factory.begun(native, carried, context, values[OPTIMIZER])
        done: list[tuple[str, Task, Returned]] = []
        for label, task in self.tasks:
            _check_leaves(task, params, f"client {context.id!r}, task {label!r}")
            done.append((label, task, self._done(label, task, native, optimizer, values[label], context)))
            native = native if (changed := done[-1][2].model) is None else changed
        metrics = self._metrics(done)
        if not self._trains:
            return Update({}, done[0][2].examples, metrics)
        examples = next(result.examples for _, task, result in done if task.train)
        update = Update(self._change(native, params, context), examples, metrics)
        if self.factory is None:
            return update
        left = self.factory.ended(native, optimizer, params, carried, values[OPTIMIZER])
        return kept.passed_on(self.factory.policy, update, left)

    @property
    def buffers(self) -> frozenset[str]:
        """The leaves of its updates that no optimiser should touch, at the server either."""
        return self.model.buffers

    @property
    def rules(self) -> Mapping[str, AggregationRule[Any]]:
        """How updates become one, by what the names of leaves begin with; nothing where it is their mean."""
        if self.rule is not None:
            return {"": self.rule}
        return {task.leaves: task.rule for _, task in self.tasks if task.rule is not None}

    @property
    def split(self) -> str | None:
        """The data that the first task is given, where it says so."""
        return self.tasks[0][1].split

    def carried(self, params: Tree) -> Tree:
        """The form of the optimiser's leaves, where they are federated; see `hansa.training.kept.Carrying`."""
        return {} if self.factory is None else self.factory.form(params, self._values(1)[OPTIMIZER])

    @property
    def _trains(self) -> bool:
        return any(task.train for _, task in self.tasks)

    def _values(self, round_: int, ask: Settings | None = None, where: str = "") -> dict[str, dict[str, Any]]:
        """All settings by the label of their task, or of the optimiser."""
        said = "the settings of Tasks" + (f", round {round_}" if callable(self.settings) else "")
        own = self.settings(round_) if callable(self.settings) else self.settings
        # The name of the model that is evaluated is for the History.
        asked = {name: value for name, value in (ask or {}).items() if name != MODEL}
        return resolved(self.owners, [(own, said), (asked, where)])

    def _done(
        self, label: str, task: Task, native: Any, optimizer: Any, settings: Mapping[str, Any], context: ClientContext
    ) -> Returned:
        """Do one task."""
        where, key = f"client {context.id!r}, task {label!r}", context.key.child("task", label)
        loader = self._loader(label, task, context, where)
        given = {"model": native, "optimizer": optimizer, "loader": loader, "device": context.device, "key": key}
        set_mode(self.model, native, training=task.train)
        with seeded(self.model, key, context.device):
            found = task(**{name: given[name] for name in task.takes}, **settings)
        return returned(task, found, size(loader), where)

    def _loader(self, label: str, task: Task, context: ClientContext, where: str) -> Any:
        """The batches of a ClientDataset; anything else that a client's data are, as it is."""
        split = task.split or ("train" if task.train else "valid" if "valid" in context.data else "test")
        examples = context.data.get(split)
        if examples is None or size(examples) == 0:
            raise no_examples(where, split)
        if not isinstance(examples, ClientDataset):
            return examples
        shuffle = context.key.child("task", label, "shuffle") if task.train else None
        made = partial(batch_of, self.model, device=context.device)
        return Batches(examples, self.batch_size, made, shuffle, context.progress)

    def _metrics(self, done: list[tuple[str, Task, Returned]]) -> Metrics:
        if len(done) == 1:
            return done[0][2].metrics
        metrics = Metrics()
        for label, _, result in done:
            metrics = metrics.merge(result.metrics.under(label))
        return metrics

    def _change(self, native: Any, params: Tree, context: ClientContext) -> Tree:
        trained = self.model.extract(native)
        labels = ", ".join(label for label, task in self.tasks if task.train)
        hint = "a task may change the values of the parameters, not their names, shapes or dtypes"
        tree.check_alike(trained, params, where=f"client {context.id!r}, after {labels}", hint=hint)
        return tree.difference(trained, params)


def _named(given: object) -> tuple[str, Task]:
    """A task and what it is called."""
    match given:
        case Task():
            return given.name, given
        case (str(label), Task() as task):
            return label, task
    raise ConfigError(
        f"{getattr(given, '__name__', repr(given)):.80} is no task",
        hint='mark the function with @hansa.task; the same one again is given as ("another_name", function)',
    )


def _check(model: NativeModel, named: tuple[tuple[str, Task], ...], batch_size: int) -> None:
    """Refuse what cannot be done at all."""
    if not named:
        raise ConfigError(
            "there is no task", hint="write Tasks(model, train), train a function marked with @hansa.task"
        )
    if not hasattr(model, "native"):
        raise ConfigError(
            f"{type(model).__name__} has no object of a framework's own for tasks to work on",
            hint="use an adapter that has, such as TorchModel, or LocalTraining",
        )
    if batch_size < 1:
        raise ConfigError(f"batch_size is at least 1, not {batch_size}")
    labels = [label for label, _ in named]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(
                f"two tasks are called {label!r}", hint=f'call one of them otherwise: ("{label}_again", {label})'
            )
        if not label or "/" in label or label == OPTIMIZER:
            raise ConfigError(f"a task cannot be called {label!r}", hint='name it: ("name", function)')


def _factory(
    model: NativeModel,
    named: tuple[tuple[str, Task], ...],
    make: Callable[..., Any] | None,
    policy: kept.Policy,
) -> OptimizerFactory | None:
    """The factory of the tasks' optimiser, where they ask for one."""
    kept.check_policy(policy)
    asking = [label for label, task in named if "optimizer" in task.takes]
    if make is None and asking:
        raise ConfigError(f"the task {asking[0]!r} asks for an optimizer, and there is none", hint=f"give {EXAMPLE}")
    if make is None and policy != "reset":
        raise ConfigError(f"optimizer_state={policy!r} without an optimizer", hint=f"give {EXAMPLE}")
    if make is not None and not asking:
        raise ConfigError("no task asks for the optimizer", hint="let one have a parameter `optimizer`")
    return None if make is None else OptimizerFactory(model, make, policy)


def _check_rules(tasks: list[Task]) -> None:
    """Refuse two rules for one leaf."""
    for a, b in combinations(tasks, 2):
        if a.rule != b.rule and (a.leaves.startswith(b.leaves) or b.leaves.startswith(a.leaves)):
            raise ConfigError(
                f"the tasks {a.name!r} and {b.name!r} train the same leaves by different rules: {a.rule} and {b.rule}",
                hint='let each train leaves of its own: @hansa.task(train=True, rule=..., leaves="generator.")',
            )


def _check_leaves(task: Task, params: Tree, where: str) -> None:
    if task.leaves and not any(name.startswith(task.leaves) for name in params):
        error = UnknownName.among("leaf that begins with", task.leaves, params)
        error.where = where
        raise error
