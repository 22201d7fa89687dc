"""Settings of a scientist's function: its keyword-only parameters, which a run, a round or an ask may set by name.

This file must not know what the functions do.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hansa.core.work import Settings
from hansa.errors import ConfigError, UnknownName

_SCALARS = {"bool": bool, "int": int, "float": float, "str": str, "bytes": bytes}


@dataclass(frozen=True)
class Setting:
    """One of them.

    Attributes:
        default: its value where nobody sets it.
        kinds: the scalar types that it may be set to; none for a default that is no scalar, which stays.
    """

    default: Any
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, parameter: inspect.Parameter) -> Setting:
        """The setting that a keyword-only parameter with a default is: of the types it is annotated with, or its default's."""
        annotation = parameter.annotation
        written = annotation.__name__ if isinstance(annotation, type) else str(annotation)
        annotated = tuple(kind for each in written.split("|") if (kind := each.strip()) in _SCALARS)
        own = type(parameter.default).__name__
        return cls(parameter.default, annotated or ((own,) if own in _SCALARS else ()))

    def checked(self, value: Any, name: str, where: str) -> Any:
        """`value`, if it is of one of the types; a whole number does for a float.

        Raises:
            ConfigError: it is not.
        """
        kind = type(value).__name__
        if kind in self.kinds:
            return value
        if kind == "int" and "float" in self.kinds:
            return float(value)
        if not self.kinds:
            raise ConfigError(
                f"the setting {name!r} is {self.default!r:.80} and cannot be set: it is no number, text or truth value",
                where=where,
                hint="choose by a text, and let the function make what it needs of it",
            )
        raise ConfigError(
            f"the setting {name!r} is of type {' or '.join(self.kinds)}, not {kind}: {value!r:.80}",
            where=where,
            hint=f"its default is {self.default!r:.80}",
        )


def settings_of(parameters: Mapping[str, inspect.Parameter]) -> dict[str, Setting]:
    """The settings among a function's parameters."""
    return {
        name: Setting.of(parameter)
        for name, parameter in parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty
    }


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """A function's parameters.

    Raises:
        ConfigError: it is no function of Python's, and does not say.
    """
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise ConfigError(f"the parameters of {function!r:.80} are not known", hint="wrap it in a function") from None


def resolved(
    owners: Mapping[str, Mapping[str, Setting]], layers: list[tuple[Settings, str]]
) -> dict[str, dict[str, Any]]:
    """The values of all settings, by owner.

    Args:
        owners: the settings of each function, by its label.
        layers: what sets them and where that was said, each overlaying the ones before. "clip" sets it for every function that
            has a setting "clip"; "train/clip" for the one labelled "train", whatever "clip" says.

    Raises:
        UnknownName: no function has such a setting.
        ConfigError: a value has another type.
    """
    values = {label: {name: each.default for name, each in own.items()} for label, own in owners.items()}
    for settings, where in layers:
        for given in sorted(settings, key=lambda given: "/" in given):
            label, _, name = given.rpartition("/")
            setting = [each for each in ([label] if label else owners) if name in owners.get(each, {})]
            if not setting:
                names = dict.fromkeys(name for own in owners.values() for name in own)
                full = [f"{owner}/{name}" for owner, own in owners.items() for name in own] if label else []
                error = UnknownName.among("setting", given, [*full, *names])
                error.where = where
                raise error
            for each in setting:
                values[each][name] = owners[each][name].checked(settings[given], given, where)
    return values
