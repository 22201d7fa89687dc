"""Requirements: what an experiment needs installed, as PEP 508 strings that name a distribution and nothing else.

They come from a scientist and end as arguments of pip on an owner's machine, so pip's options, URLs and paths are refused here.
This file must not know where a requirement is satisfied, or how it comes to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from hansa.errors import InputError

LONGEST = 300
"""Characters of one requirement."""

MOST = 200
"""Requirements of one experiment."""

Find = Callable[[str], metadata.Distribution | None]
"""Finds an installed distribution by its name."""

BUILDS = (("xgboost", "xgboost-cpu"), ("tensorflow", "tensorflow-cpu"))
"""Distributions that are one package built for different machines: any of a group serves where another is required."""

_HINT = 'name a distribution and its versions, such as "scikit-learn>=1.4"'


def requirement(text: str) -> Requirement:
    """One requirement.

    Raises:
        InputError: it is none, or it is an option, a URL or a path.
    """
    if len(text) > LONGEST or not text.isprintable():
        raise InputError(f"a requirement is one printable line of at most {LONGEST} characters: {text!r:.100}")
    try:
        parsed = Requirement(text)
    except InvalidRequirement as problem:
        raise InputError(f"{text!r} is no requirement", hint=_HINT) from problem
    if parsed.url is not None:
        raise InputError(f"the requirement {text!r} names a URL; owners install from their own index", hint=_HINT)
    if any(each.operator == "===" for each in parsed.specifier):
        raise InputError(f"the requirement {text!r} uses '===', which compares no versions", hint="use '=='")
    return parsed


def builds(name: str) -> tuple[str, ...]:
    """The distributions that serve where `name` is required: itself, and its other builds."""
    return next((group for group in BUILDS if canonicalize_name(name) in group), (name,))


def normal(texts: Iterable[str]) -> tuple[str, ...]:
    """The requirements in their usual spelling, sorted, none twice.

    Raises:
        InputError: see `requirement`.
    """
    return tuple(sorted({str(requirement(text)) for text in texts}))


def applies(parsed: Requirement, extra: str = "") -> bool:
    """Whether it is needed on this machine, by this Python, with an extra of the distribution that says it."""
    return parsed.marker is None or parsed.marker.evaluate({"extra": extra})


def with_extras(parsed: Requirement, find: Find) -> Iterator[Requirement]:
    """The requirement itself, and what its extras need as well, theirs included; only of what is installed is that known."""
    queue, seen = [parsed], set[str]()
    while queue:
        this = queue.pop()
        yield this
        extras = {f"{canonicalize_name(this.name)}[{extra}]": extra for extra in this.extras}
        found = find(this.name) if extras.keys() - seen else None
        needs = [Requirement(text) for text in (found.requires or ())] if found is not None else []
        for mark in sorted(extras.keys() - seen):
            seen.add(mark)
            queue += [need for need in needs if applies(need, extras[mark]) and not applies(need)]
