"""Transforms: what comes back is within the promised error, in the form that was sent, and stochastic rounding has no bias."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.core.keys import key
from hansa.core.tree import Array, Tree, is_floating
from hansa.testing.laws import unlike_bits, unlike_form
from hansa.transforms import Chained, Half, Quantised, Sparsified, Transform

FLOATS = [np.dtype(kind) for kind in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.complex64)]
OTHERS = [np.dtype(kind) for kind in (np.int64, np.uint8, np.bool_)]
SHAPES = st.sampled_from([(), (0,), (1,), (7,), (2, 3), (0, 4), (3, 1, 2), (64,)])


@st.composite
def leaves(draw: st.DrawFn, kinds: list[np.dtype[Any]] | None = None) -> Array:
    dtype, shape = draw(st.sampled_from(kinds or FLOATS + OTHERS)), draw(SHAPES)
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = generator.standard_normal(shape) * 10.0 ** draw(st.integers(-3, 3)) + draw(st.sampled_from([0.0, 5.0]))
    if dtype.kind == "c":
        values = values + 1j * generator.standard_normal(shape)
    return np.asarray(values).astype(dtype)


TREES = st.dictionaries(st.sampled_from(["w", "b", "body/w", "a#b"]), leaves(), max_size=4)
TRANSFORMS: list[Transform] = [
    Half(),
    Half("float16"),
    *(Quantised(bits, stochastic) for bits in range(1, 9) for stochastic in (True, False)),
    *(Sparsified(fraction) for fraction in (1e-9, 0.1, 0.5, 1.0)),
    Chained((Sparsified(0.3), Quantised(4), Half())),
    Chained((Half(), Sparsified(0.3))),
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
@given(tree=TREES, seed=st.integers(0, 9))
@settings(max_examples=25)
def test_what_is_encoded_has_the_form_that_was_announced_and_comes_back_in_its_own(
    transform: Transform, tree: Tree, seed: int
) -> None:
    before = {name: leaf.copy() for name, leaf in tree.items()}
    encoded = transform.encode(tree, key(seed))
    assert not unlike_form(encoded, transform.form(tree))
    decoded = transform.decode(encoded, tree)
    assert not unlike_form(decoded, tree)
    facts = {name for name, leaf in tree.items() if not is_floating(leaf)}
    assert not unlike_bits({n: decoded[n] for n in facts}, {n: tree[n] for n in facts})
    assert not unlike_bits(tree, before), "an update is never changed"
    assert not unlike_bits(transform.encode(tree, key(seed)), encoded), "the same key gives the same bits"


def reals(leaf: Array) -> Array:
    flat = leaf.reshape(-1)
    return (flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat).astype(np.float64)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("stochastic", [True, False])
@given(leaf=leaves(FLOATS), seed=st.integers(0, 9))
@settings(max_examples=25)
def test_quantised_numbers_are_within_a_level_or_half_of_one(
    bits: int, stochastic: bool, leaf: Array, seed: int
) -> None:
    transform = Quantised(bits, stochastic)
    decoded = transform.decode(transform.encode({"w": leaf}, key(seed)), {"w": leaf})["w"]
    before, after = reals(leaf), reals(decoded)
    if not before.size:
        return
    level = (before.max() - before.min()) / (2**bits - 1)
    narrow = {2: 2.0**-7, 4: 2.0**-20, 8: 2.0**-20}[leaf.dtype.itemsize]  # of the leaf's own rounding
    bound = level * (1 if stochastic else 0.5) + narrow * abs(before).max()
    assert abs(after - before).max() <= bound


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_stochastic_rounding_has_no_bias(bits: int) -> None:
    leaf = np.random.default_rng(1).standard_normal(40)
    transform, turns = Quantised(bits), 4000
    total = np.zeros_like(leaf)
    for turn in range(turns):
        total += transform.decode(transform.encode({"w": leaf}, key(0, turn)), {"w": leaf})["w"]
    level = (leaf.max() - leaf.min()) / (2**bits - 1)
    assert abs(total / turns - leaf).max() < 5 * level / 2 / turns**0.5  # five standard deviations at the most


@given(leaf=leaves(FLOATS))
def test_numbers_of_16_bits_are_within_their_rounding(leaf: Array) -> None:
    decoded = Half().decode(Half().encode({"w": leaf}, key(0)), {"w": leaf})["w"]
    assert (abs(reals(decoded) - reals(leaf)) <= 2.0**-8 * abs(reals(leaf))).all()


@given(leaf=leaves(FLOATS), fraction=st.floats(0.01, 1.0))
def test_the_numbers_farthest_from_0_travel_and_no_others(leaf: Array, fraction: float) -> None:
    transform = Sparsified(fraction)
    decoded = transform.decode(transform.encode({"w": leaf}, key(0)), {"w": leaf})["w"].reshape(-1)
    flat = leaf.reshape(-1)
    sent = decoded != 0
    assert (decoded[sent] == flat[sent]).all()
    assert sent.sum() <= max(1, np.ceil(fraction * leaf.size))
    if sent.any() and not sent.all():
        assert abs(flat[~sent]).astype(np.float64).max() <= abs(flat[sent]).astype(np.float64).min()


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_is_not_finite_never_becomes_finite(transform: Transform, bad: float, kind: Any) -> None:
    leaf = np.arange(9, dtype=kind)
    leaf[4] = bad
    decoded = transform.decode(transform.encode({"w": leaf}, key(0)), {"w": leaf})["w"]
    assert not np.isfinite(decoded).all()
