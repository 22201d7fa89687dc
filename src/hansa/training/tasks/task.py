"""A task: a plain function of the scientist's, such as the loop of a training pipeline that there is already.

What a function is given it asks for by the names of its parameters. This file must not know when tasks are done, or of models.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, overload

from hansa.core.ask import AggregationRule
from hansa.errors import ConfigError
from hansa.training.tasks.settings import Setting, parameters_of, settings_of

GIVEN = ("model", "optimizer", "loader", "device", "key")
"""What a task may ask for by the name of a parameter."""


@dataclass(frozen=True)
class Task:
    """A marked function; call it as before. Made by the decorator `task`.

    Attributes:
        function: the function.
        train: whether it changes the model.
        split: the data that it is given; None for "train" if it trains, else for "valid" or, where there is none, "test".
        rule: how the clients' changes become one, instead of by their mean.
        leaves: what the names of the leaves that it trains begin with; "" for all.
        takes: what it is given, of `GIVEN`.
        settings: its own settings by name: keyword-only parameters with a default.
    """

    function: Callable[..., Any]
    train: bool = False
    split: str | None = None
    rule: AggregationRule[Any] | None = None
    leaves: str = ""
    takes: tuple[str, ...] = field(init=False)
    settings: Mapping[str, Setting] = field(init=False)

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ConfigError(f"a task is a function, not {self.function!r:.80}", hint="decorate one with @hansa.task")
        parameters = parameters_of(self.function)
        settings = settings_of(parameters)
        takes = tuple(name for name in parameters if name not in settings)
        if (what := _misfit(parameters, takes, settings, self.train)) is not None:
            raise ConfigError(
                f"the task {self.name!r} {what}\n  found:    {self.signature}\n  expected: {self.expected}",
                hint="a task is given what it asks for by these names; each may be left out",
            )
        if not self.train and (self.rule is not None or self.leaves):
            raise ConfigError(
                f"the task {self.name!r} does not train, and has no changes for a rule",
                hint="mark it with @hansa.task(train=True, ...), or leave out rule= and leaves=",
            )
        object.__setattr__(self, "takes", takes)
        object.__setattr__(self, "settings", settings)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function."""
        return self.function(*args, **kwargs)

    @property
    def name(self) -> str:
        """The function's."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    @property
    def signature(self) -> str:
        """The function's, as it was written."""
        return f"def {self.name}{inspect.signature(self.function)}"

    @property
    def expected(self) -> str:
        """A signature that would do."""
        if self.train:
            return f'def {self.name}(model, optimizer, loader, device, *, setting=1.0): ...; return {{"loss": 0.5}}'
        return f'def {self.name}(model, loader, device, *, setting=1.0): ...; return {{"accuracy": 0.5}}'


@overload
def task(function: Callable[..., Any], /) -> Task:  # noqa: D418 - whatever is public has a docstring here
    """Mark a function: `@hansa.task`."""


@overload
def task(  # noqa: D418 - as above
    *, train: bool = False, split: str | None = None, rule: AggregationRule[Any] | None = None, leaves: str = ""
) -> Callable[[Callable[..., Any]], Task]:
    """Say how to mark a function: `@hansa.task(train=True)`."""


def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    train: bool = False,
    split: str | None = None,
    rule: AggregationRule[Any] | None = None,
    leaves: str = "",
) -> Task | Callable[[Callable[..., Any]], Task]:
    """Mark a plain function as a task: `@hansa.task`, or `@hansa.task(train=True)` for one that changes the model.

    Its parameters say what it is given: `model` (the framework's own object), `optimizer`, `loader` (an iterable of batches),
    `device`, `key`; keyword-only parameters with a default are settings of its own. It returns metrics by name, numbers or
    Hansa's own, and "examples" where the loader does not know how many there were; in a framework whose models are values
    `(model, metrics)`.

    Args:
        function: the function.
        train: it changes the model.
        split: the data that it is given; None for "train" if it trains, else for "valid" or, where there is none, "test".
        rule: how the clients' changes become one, instead of by their mean.
        leaves: what the names of the leaves that it trains begin with, where several tasks with rules of their own train.

    Raises:
        ConfigError: its parameters are not those of a task; the message shows the expected signature and the found one.
    """

    def marked(function: Callable[..., Any]) -> Task:
        return Task(function, train, split, rule, leaves)

    return marked if function is None else marked(function)


def _misfit(
    parameters: Mapping[str, inspect.Parameter], takes: tuple[str, ...], settings: Mapping[str, Setting], train: bool
) -> str | None:
    """Why parameters are not those of a task, or None where they are."""
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return f"has the parameter {str(parameter)!r}, and tasks are given everything by name"
        if name in GIVEN and name in settings:
            return f"has a default for {name!r}, which it is always given"
        if name in takes and name not in GIVEN:
            near = difflib.get_close_matches(name, GIVEN, n=1)
            guess = f"; did you mean {near[0]!r}?" if near else ""
            if parameter.default is not parameter.empty:
                guess = "; write a * before it, if it is a setting"
            return f"has the parameter {name!r}, which nobody gives it{guess}"
    if "optimizer" in takes and not train:
        return "asks for an optimizer, and is not marked with train=True"
    return None
