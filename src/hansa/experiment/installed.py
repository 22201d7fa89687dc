"""What is installed on this machine, module by module, and what of it an owner has too.

An owner has Hansa with what that needs, and the requirements that the experiment declares; nothing else.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from hansa.experiment.requirements import applies, builds, requirement, with_extras
from hansa.experiment.sources import Outside, Trouble

HERE = Requirement("hansa[federation]")
"""What every owner has installed."""


@dataclass(frozen=True)
class Installed:
    """A machine's packages.

    Attributes:
        modules: the distributions that each top-level module comes from.
        importable: whether there is a module of this top-level name at all.
        version: the version of an installed distribution; None where it is not.
        own: the distributions, by canonical name, that every owner has.
        also: what a declared requirement brings along besides itself: the distributions behind its extras.
    """

    modules: Mapping[str, Collection[str]]
    importable: Callable[[str], bool]
    version: Callable[[str], str | None]
    own: frozenset[str]
    also: Callable[[Requirement], Iterable[str]]

    @classmethod
    def here(cls) -> Installed:
        """This machine, as the running interpreter sees it."""
        return cls(metadata.packages_distributions(), _importable, _version, own_distributions(), _behind_extras)

    def has(self, module: str) -> bool:
        """Whether a module of this top-level name is installed."""
        return module in self.modules or self.importable(module)

    def troubles(self, outside: Iterable[Outside], requirements: Iterable[str]) -> list[Trouble]:
        """The imports that an owner cannot be counted on to have."""
        declared = {"hansa"}
        for text in requirements:
            parsed = requirement(text)
            named = (parsed.name, *self.also(parsed))
            declared |= {canonicalize_name(build) for name in named for build in builds(name)}
        each = (self._trouble(one, declared) for one in outside)
        return [trouble for trouble in each if trouble is not None]

    def _trouble(self, outside: Outside, declared: Collection[str]) -> Trouble | None:
        top = outside.module.partition(".")[0]
        sources = sorted(set(self.modules.get(top, ())))
        names = {canonicalize_name(name) for name in (*sources, *(() if sources else (top,)))}
        if top in sys.stdlib_module_names or names & self.own or names & set(declared):
            return None
        if sources:
            suggested = " or ".join(self._suggested(name) for name in sources)
            return Trouble(
                f"{outside.module} comes from {' or '.join(sources)}, which the requirements do not name",
                outside.where,
                f"add to the requirements: {suggested}",
            )
        if self.importable(top):
            return Trouble(
                f"{outside.module} can be imported here, but no installed distribution brings it, so no owner can have it",
                outside.where,
                "put it beside the experiment file, or name the distribution in the requirements",
            )
        if outside.optional:
            return None
        return Trouble(
            f"there is no module {outside.module}: not beside the experiment file, and not installed",
            outside.where,
            "check its name, or install it",
        )

    def _suggested(self, name: str) -> str:
        """A requirement that the installed version satisfies, without its last digits."""
        try:
            release = Version(self.version(name) or "").release
        except InvalidVersion:
            return f'"{name}"'
        return f'"{name}>={".".join(map(str, release[:2]))}"'


def own_distributions() -> frozenset[str]:
    """The canonical names of Hansa and of what it declares to need on an owner's machine; direct ones only."""
    found = _distribution("hansa")
    needs = [Requirement(text) for text in (found.requires or ())] if found is not None else []
    wanted = {
        canonicalize_name(need.name) for need in needs if any(applies(need, extra) for extra in ("", *HERE.extras))
    }
    return frozenset({"hansa", *wanted})


def _behind_extras(parsed: Requirement) -> list[str]:
    return [each.name for each in with_extras(parsed, _distribution)]


def _distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _version(name: str) -> str | None:
    found = _distribution(name)
    return None if found is None else found.version


def _importable(module: str) -> bool:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return module in sys.modules
    return spec is not None and spec.origin is not None  # a folder without __init__.py has no origin
