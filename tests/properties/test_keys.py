"""Keys: every path has its own numbers, and they are the same everywhere and always."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.core.keys import Key, key
from hansa.errors import ConfigError

STEPS = st.one_of(st.text(max_size=4), st.integers(-300, 300), st.sampled_from(["1", "12", "s1:", "i1:1", "", ":"]))
PATHS = st.lists(STEPS, max_size=4).map(tuple)


@settings(max_examples=300)
@given(st.tuples(st.integers(-(2**70), 2**70), PATHS), st.tuples(st.integers(-5, 5), PATHS))
def test_keys_are_equal_where_seed_and_path_are_and_nowhere_else(
    one: tuple[int, tuple[str | int, ...]], other: tuple[int, tuple[str | int, ...]]
) -> None:
    alike = one == other
    assert (key(one[0], *one[1]).digest() == key(other[0], *other[1]).digest()) == alike
    assert key(one[0], *one[1]).digest() == key(one[0], *one[1]).digest()


def test_paths_that_look_alike_are_told_apart() -> None:
    paths: list[tuple[str | int, ...]] = [
        (),
        ("",),
        ("", ""),
        ("a", "b"),
        ("ab",),
        ("a", "b", ""),
        ("b", "a"),
        (1, 2),
        (12,),
        ("12",),
        ("1", 2),
        (1, "2"),
        (-12,),
        ("i2:12",),
        ("s1:as1:b",),
        ("a:b",),
        ("é",),
        ("e\u0301",),
    ]
    assert len({key(0, *path).digest() for path in paths} | {key(1, *path).digest() for path in paths}) == 2 * len(
        paths
    )
    assert key(0, 1).digest() != key(1, 0).digest() != key(1).digest()


@settings(max_examples=100)
@given(st.integers(0, 99), PATHS, PATHS)
def test_a_child_is_the_key_further_down(seed: int, path: tuple[str | int, ...], rest: tuple[str | int, ...]) -> None:
    assert key(seed, *path).child(*rest) == key(seed, *path, *rest)
    assert key(seed, *path).child(*rest).digest() == key(seed, *path, *rest).digest()


def test_any_whole_number_is_the_number_that_it_is() -> None:
    for three in (np.int64(3), np.uint8(3)):
        assert key(three, "a", three).digest() == key(3, "a", 3).digest()  # type: ignore[arg-type]  # on purpose
    assert isinstance(key(np.int64(3)).seed, int)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("step", [1.0, None, b"a", ("a",)])
def test_a_path_holds_names_and_whole_numbers_only(step: object) -> None:
    with pytest.raises(ConfigError, match="names and whole numbers") as caught:
        key(0, "a", step).digest()  # type: ignore[arg-type]  # on purpose
    assert repr(step) in str(caught.value)


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.integers(1, 256))
def test_an_integer_has_as_many_bits_as_were_asked_for(seed: int, bits: int) -> None:
    number = key(seed).integer(bits)
    assert 0 <= number < 2**bits
    assert number == int.from_bytes(key(seed).digest(), "big") >> (256 - bits)


def test_generators_of_one_key_draw_alike_and_do_not_share_a_state() -> None:
    one, other = key(0, "a").generator(), key(0, "a").generator()
    first = one.random(5)
    assert np.array_equal(other.random(5), first)
    assert not np.array_equal(one.random(5), first)
    assert not np.array_equal(key(0, "b").generator().random(5), first)


GOLDEN = [
    (
        key(0),
        "59a435212025b8a562b37453ac907b55b9a99d60a4936f61c793960b95db5b84",
        3229673090972834898,
        [810, 1, 624, 740, 233],
        [0.02263560318407377, 2.5200553977612197],
        [0, 3, 4, 5, 1, 2],
    ),
    (
        key(0, "client", "alice", "round", 3),
        "959fc8bcfcb8143aa1bf87a23b1bd8140816b8512de34249b57738f8b14e8fa9",
        5390778373483792925,
        [379, 995, 733, 631, 409],
        [1.371119634925927, -0.06747083214825947],
        [4, 1, 5, 3, 2, 0],
    ),
    (
        key(-1, ""),
        "9411964cd2b0d883e004bbdea9bee96cd2e98e54c75056ba13edff5d7449f482",
        5334737124456950849,
        [814, 942, 148, 952, 421],
        [-0.9736926323960912, 0.2698568158428698],
        [0, 5, 3, 2, 1, 4],
    ),
    (
        key(2**70, "é", -5),
        "cfb6e8f0ce72938ff980ee3472fc0bcf887d1dc89d25acd7d1b26a6d22ac4241",
        7483703266282916295,
        [106, 672, 79, 617, 322],
        [-0.45223190693828863, 1.2579191486696812],
        [1, 4, 3, 2, 0, 5],
    ),
]


@pytest.mark.parametrize(("of", "digest", "integer", "integers", "normals", "order"), GOLDEN)
def test_the_numbers_of_a_key_never_change(
    of: Key, digest: str, integer: int, integers: list[int], normals: list[float], order: list[int]
) -> None:
    assert of.digest().hex() == digest
    assert of.integer() == integer
    assert of.generator().integers(0, 1000, 5).tolist() == integers
    assert of.generator().standard_normal(2).tolist() == normals
    assert of.generator().permutation(6).tolist() == order


def test_the_numbers_do_not_depend_on_the_process_or_its_hash_seed() -> None:
    program = "from hansa.core.keys import key; k = key(5, 'client', 'é', -3); print(k.digest().hex(), k.generator().random())"
    here = key(5, "client", "é", -3)
    for seed in ("1", "2"):
        told = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.split() == [here.digest().hex(), repr(here.generator().random())]
