"""A factory of optimisers: a scientist's function that makes one from a native object, and what becomes of its state.

This file must not know which framework it is, or what the optimiser is used for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hansa.core.tree import Tree
from hansa.core.work import ClientContext
from hansa.errors import ConfigError
from hansa.models.model import NativeModel
from hansa.training import kept
from hansa.training.tasks.framework import OptimizerStates
from hansa.training.tasks.settings import Setting, parameters_of, settings_of

EXAMPLE = "optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=1e-3)"


@dataclass(frozen=True)
class OptimizerFactory:
    """Makes the optimiser of a visit, and takes its state where the policy says.

    Attributes:
        model: gives the native objects.
        make: of a native object, and settings of its own, an optimiser.
        policy: what becomes of its state when the visit ends.
    """

    model: NativeModel
    make: Callable[..., Any]
    policy: kept.Policy

    def begun(self, native: Any, carried: Tree, context: ClientContext, values: Mapping[str, Any]) -> Any:
        """The optimiser of a native object as a visit begins; `values` are those of its settings."""
        optimizer = self.make(native, **values)
        if remembered := kept.remembered(self.policy, carried, context):
            self._states.load_optimizer(native, optimizer, kept.bare(remembered))
        return optimizer

    def ended(self, native: Any, optimizer: Any, params: Tree, carried: Tree, values: Mapping[str, Any]) -> Tree:
        """The leaves that are left when a visit ends. Federated, all clients' have one form: zeros for what had no gradient."""
        if self.policy == "reset":
            return {}
        state = kept.prefixed(self._states.optimizer_state(native, optimizer))
        return state if self.policy == "keep" else {**(carried or self.form(params, values)), **state}

    def form(self, params: Tree, values: Mapping[str, Any]) -> Tree:
        """The form of the leaves that travel, from a step on scratch; none where they do not."""
        if self.policy != "federate":
            return {}
        native = self.model.native(params, "cpu")
        return kept.prefixed(self._states.optimizer_form(native, self.make(native, **values)))

    def settings(self) -> dict[str, Setting]:
        """What the function may be told besides the model.

        Raises:
            ConfigError: it is no function of the model and settings, or the state of its optimisers cannot be taken.
        """
        hint = f"write a function of the model: {EXAMPLE}"
        make: object = self.make  # whatever its annotation promises
        if not callable(make) or isinstance(make, type):
            name = getattr(make, "__name__", type(make).__name__)
            raise ConfigError(f"the optimizer is made at every visit from that visit's model; found {name}", hint=hint)
        parameters = parameters_of(self.make)
        settings = settings_of(parameters)
        others = [parameter for name, parameter in parameters.items() if name not in settings]
        if len(others) != 1 or others[0].kind not in (others[0].POSITIONAL_ONLY, others[0].POSITIONAL_OR_KEYWORD):
            found = ", ".join(map(str, parameters.values()))
            raise ConfigError(
                f"what makes the optimizer is given the model alone; its parameters are ({found})", hint=hint
            )
        if self.policy != "reset" and not isinstance(self.model, OptimizerStates):
            raise ConfigError(
                f"{type(self.model).__name__} cannot take out the state of an optimizer",
                hint='use optimizer_state="reset", TorchModel, or LocalTraining',
            )
        return settings

    @property
    def _states(self) -> OptimizerStates:
        assert isinstance(self.model, OptimizerStates)  # noqa: S101 - checked in `settings`; for the type checker
        return self.model
