"""From a framework's own object to the Model that adapts it, by the package that the object's class comes from.

The adapters of other frameworks are found as entry points in the group "hansa.models": an installed distribution names its
framework's package and the adapter for it. This file must not import any framework: an adapter is loaded once an object of its
framework is there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from hansa.errors import ConfigError, UnknownName
from hansa.models.model import Model

GROUP = "hansa.models"
"""The group of entry points whose names are frameworks' packages and whose values are adapters."""

ADAPTERS = {
    "torch": "hansa.models.torch:TorchModel",
    "flax": "hansa.models.flax:FlaxModel",
    "keras": "hansa.models.keras:KerasModel",
    "sklearn": "hansa.models.sklearn:SklearnModel",
    "xgboost": "hansa.models.wrap:boosted",
}
"""The adapters that come with Hansa, by the top-level package of their framework."""


def wrap_model(native: Any, loss: Any = None, **options: Any) -> Model:
    """The Model of a framework's object: a `TorchModel` of an `nn.Module`, a `KerasModel` of a `keras.Model`, ...

    The packages of the object's class and of the classes that it inherits from are tried in their order of inheritance, so that
    the adapter of a library that builds on another framework comes before that framework's.

    Args:
        native: a module, a model, an estimator; for a function that makes one, call its adapter yourself.
        loss: as the adapter takes it; left out where the object has one of its own, as an estimator has.
        options: the adapter's further arguments, such as `inputs` and `target`.

    Raises:
        UnknownName: there is no adapter for the framework.
        ConfigError: the adapter does not take these arguments, or needs a loss; or two distributions have an adapter for the
            same framework.
        MissingExtra: the framework is not installed.
    """
    package, adapter = _found(native)
    arguments = options if loss is None else {"loss": loss, **options}
    try:
        inspect.signature(adapter).bind(native, **arguments)
    except TypeError as problem:
        raise ConfigError(
            f"the adapter of {package} cannot be made like this: {problem}",
            hint=f"it takes {inspect.signature(adapter)}: wrap_model(native, loss=..., ...)",
        ) from problem
    made: Model = adapter(native, **arguments)
    return made


def boosted(native: Any, features: int, classes: int | None = None, **options: Any) -> Model:
    """The `XGBoostModel` with the settings of an estimator of XGBoost, such as `XGBClassifier(max_depth=3)`.

    Raises:
        ConfigError: it is no estimator but, for example, a `Booster`, or its settings are not supported.
    """
    adapter: Any = import_module("hansa.models.xgboost").XGBoostModel
    if not hasattr(native, "get_xgb_params"):
        raise ConfigError(
            f"a {type(native).__name__} of XGBoost does not say how it is trained",
            hint="pass an estimator such as XGBClassifier(max_depth=3), or use XGBoostModel(features, classes, params)",
        )
    params = {name: value for name, value in native.get_xgb_params().items() if value is not None}
    if params.get("objective") == "binary:logistic":
        del params["objective"]  # what a classifier says of itself before it has seen how many classes there are
    made: Model = adapter(features, classes, params, **options)
    return made


def _found(native: Any) -> tuple[str, Callable[..., Any]]:
    """The package that decides, and its adapter."""
    packages = _packages(native)
    for package in packages:
        if package in ADAPTERS:
            module, _, name = ADAPTERS[package].partition(":")
            adapter: Callable[..., Any] = getattr(import_module(module), name)
            return package, adapter
        if points := entry_points(group=GROUP, name=package):
            return package, _only(tuple(points)).load()
    known = sorted({*ADAPTERS, *entry_points(group=GROUP).names})
    raise UnknownName.among(
        "adapter for objects of",
        ", ".join(packages) or "Python itself",
        known,
        hint=f"there are adapters for {', '.join(known)}; write one for another framework as a class with the functions of "
        f'hansa.Model, and name it in your pyproject.toml under [project.entry-points."{GROUP}"] (docs/frameworks.md)',
    )


def _packages(native: Any) -> list[str]:
    """The top-level packages of an object's classes, or of a class's own, the most derived first."""
    classes = inspect.getmro(native if inspect.isclass(native) else type(native))
    packages = dict.fromkeys(each.__module__.partition(".")[0] for each in classes)
    return [package for package in packages if package not in ("builtins", "typing", "abc")]


def _only(points: tuple[EntryPoint, ...]) -> EntryPoint:
    if len(values := {point.value for point in points}) > 1:
        raise ConfigError(
            f"several distributions have an adapter for {points[0].name!r}: {', '.join(sorted(values))}",
            hint="uninstall all but one, or make the adapter that you want yourself",
        )
    return points[0]
