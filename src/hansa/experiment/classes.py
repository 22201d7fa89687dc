"""Classes by name, "module:qualname": what a snapshot says of a dataclass or an enum instead of holding it.

This file must not know what they are for; whoever asks checks what kind of class it is before it makes anything of it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from hansa.errors import InputError
from hansa.experiment.files import RUN_NAME

_HINT = "define it at the top of a module, and give the names that the experiment file defines"


def named(name: str, names: Mapping[str, Any]) -> type[Any]:
    """The class of a name; its module is imported if need be.

    Args:
        name: "module:qualname".
        names: what the experiment file defines: it is run, not imported, so its own classes are found in no module.

    Raises:
        InputError: there is none.
    """
    module, _, qualname = name.partition(":")
    parts = qualname.split(".")
    if "<locals>" in parts or not module or not qualname:
        raise InputError(f"{name} cannot be found again: it was made inside a function", hint=_HINT)
    try:
        found: Any = names[parts[0]] if module == RUN_NAME else getattr(_module(module), parts[0])
        for part in parts[1:]:
            found = getattr(found, part)
    except (ImportError, AttributeError, LookupError, ValueError, TypeError) as problem:
        raise InputError(f"there is no class {name}", hint=_HINT) from problem
    if not isinstance(found, type):
        raise InputError(f"{name} is no class", hint=_HINT)
    return found


def name_of(kind: type[Any], names: Mapping[str, Any], where: str, *, own: str = "") -> str:
    """The name of a class.

    Args:
        kind: the class.
        names: as for `named`.
        where: names the value in an error.
        own: the module that is the experiment file, where it was not loaded as one.

    Raises:
        InputError: the class would not be found by its name.
    """
    module = RUN_NAME if kind.__module__ == own else kind.__module__
    name = f"{module}:{kind.__qualname__}"
    try:
        found = named(name, names)
    except InputError as problem:
        raise InputError(problem.what, where=where, hint=problem.hint) from problem
    if found is not kind:
        raise InputError(f"another class has the name {name} by now", where=where, hint="rename one of them")
    return name


def _module(name: str) -> Any:
    return sys.modules.get(name) or importlib.import_module(name)
