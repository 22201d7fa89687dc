"""Errors as bytes: the same class and words at the other side, and nothing that could hurt it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa import errors
from hansa.errors import FederationError, HansaError
from hansa.transport.faults import FAULT_LIMIT, decoded, encoded

KINDS = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HansaError)),
    key=lambda kind: kind.__name__,
)
SHOWN = st.text(st.characters(codec="utf-8").filter(lambda letter: letter.isprintable() or letter == "\n"), max_size=60)


@given(st.sampled_from(KINDS), SHOWN, SHOWN, SHOWN)
def test_an_error_comes_back_as_it_was(kind: type[HansaError], what: str, where: str, hint: str) -> None:
    found = decoded(encoded(kind(what, where=where, hint=hint)))
    assert (type(found), found.what, found.where, found.hint) == (kind, what, where, hint)


@given(st.text(), st.text(), st.text(), st.integers(1, 3000))
def test_any_texts_fit_and_can_be_shown(what: str, where: str, hint: str, times: int) -> None:
    data = encoded(FederationError(what * times, where=where * times, hint=hint * times))
    assert len(data) <= FAULT_LIMIT
    found = decoded(data)
    assert type(found) is FederationError
    assert all(letter.isprintable() or letter == "\n" for letter in found.what + found.where + found.hint)


def test_surrogates_and_escapes_do_no_harm() -> None:
    found = decoded(encoded(FederationError("\ud800 \x1b[31mred \u202e", where="a\0b")))
    assert (found.what, found.where) == ("? �[31mred �", "a�b")


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(lambda v: json.dumps(v).encode()))
def test_bytes_that_are_no_error_are_an_error_that_says_so(data: bytes) -> None:
    assert type(decoded(data)) is FederationError


@pytest.mark.parametrize(
    "data", [b"[" * 4000, b" " * (FAULT_LIMIT + 1), b'{"kind": ["a"], "what": {}, "hint": 7}', b"{}"]
)
def test_hostile_bytes_are_a_plain_error(data: bytes) -> None:
    assert type(decoded(data)) is FederationError


@pytest.mark.parametrize("name", ["KeyboardInterrupt", "SystemExit", "Exception", "Any", "difflib", "__builtins__", ""])
def test_only_classes_of_the_tree_are_made_again(name: str) -> None:
    assert type(decoded(json.dumps({"kind": name, "what": "x"}).encode())) is FederationError


def test_a_class_from_elsewhere_becomes_the_nearest_of_the_tree() -> None:
    class DiskFull(errors.Damaged):
        """Has the name of one of ours, and is none of them."""

    assert type(decoded(encoded(DiskFull("x")))) is errors.Damaged


def test_the_history_of_a_failed_run_does_not_cross() -> None:
    found = decoded(encoded(errors.RunFailed("it ended early", history=object())))
    assert isinstance(found, errors.RunFailed)
    assert found.history is None
