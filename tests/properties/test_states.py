"""Private states on disk are a dict, whatever is done to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hansa.core.tree import Tree
from hansa.simulation.states import ClientStates
from hansa.testing.laws import unlike_bits

dtypes: st.SearchStrategy[np.dtype[Any]] = st.sampled_from(
    [np.dtype(name) for name in ("f2", "f4", "f8", "i1", "i8", "u2", "?", "c8", ">f4")]
)
trees = st.dictionaries(
    st.text(max_size=3), arrays.arrays(dtypes, arrays.array_shapes(min_dims=0, max_side=3)), max_size=3
)
clients = st.sampled_from(["a", "b", "envoy/c", "", "\x00", "é"])
acts = st.lists(
    st.one_of(
        st.tuples(st.just("set"), clients, trees),
        st.tuples(st.sampled_from(["delete", "snapshot", "clear"]), clients, st.just(Tree())),
    ),
    max_size=25,
)


def alike(found: Any, expected: dict[str, Tree]) -> None:
    assert len(found) == len(expected)
    assert dict.fromkeys(found).keys() == expected.keys()
    for client, tree in expected.items():
        native = {name: leaf.astype(leaf.dtype.newbyteorder("=")) for name, leaf in tree.items()}
        assert unlike_bits(found[client], native) == ""


@settings(deadline=None)
@given(acts, st.sampled_from([0, 3_000, 2**20]))
def test_states_are_a_dict_and_snapshots_its_copies(acts: list[tuple[str, str, Tree]], budget: int) -> None:
    expected: dict[str, Tree] = {}
    views = []
    with ClientStates(budget) as states:
        for act, client, tree in acts:
            if act == "set":
                states[client] = expected[client] = tree
            elif act == "delete" and client in expected:
                del states[client], expected[client]
            elif act == "clear":
                states.clear()
                expected.clear()
            elif act == "snapshot":
                views.append((states.snapshot(), dict(expected)))
        alike(states, expected)
        assert list(states) == list(expected)
        for view, then in views:
            alike(view, then)
