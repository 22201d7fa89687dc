"""Which Envoys are asked, and why others are not: by name, labels, cores, memory and device."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.protocol.choosing import Wanted, left_out, offers, size
from hansa.protocol.messages import VERSIONS, Hello

HELLO = Hello(VERSIONS, "1", 0.0, "{}", {"country": "de"}, ("cpu", "cuda:0"), cores=4, memory=8 * 10**9)


@dataclass(frozen=True)
class Wants:
    envoys: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    cores: int = 0
    memory: int = 0
    device: str = ""


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (Wants(), ""),
        (Wants(("alice",), {"country": "de"}, 4, 8 * 10**9, "cuda"), ""),
        (Wants(envoys=("bob",)), "not chosen by name"),
        (Wants(labels={"country": "fr", "kind": "ward"}), "lacks country=fr, kind=ward"),
        (Wants(cores=5), "has 4 cores, 5 are required"),
        (Wants(memory=16 * 10**9), "has 8 GB of memory, 16 GB are required"),
        (Wants(device="cuda:1"), "offers cpu, cuda:0, and cuda:1 is required"),
        (Wants(device="mps"), "offers cpu, cuda:0, and mps is required"),
    ],
)
def test_why_an_envoy_is_left_out(wanted: Wanted, why: str) -> None:
    assert left_out(wanted, "alice", HELLO) == why


def test_one_core_is_one_core() -> None:
    assert left_out(Wants(cores=2), "alice", replace(HELLO, cores=1)) == "has 1 core, 2 are required"


def test_who_says_nothing_is_not_taken_to_have_enough() -> None:
    silent = replace(HELLO, cores=0, memory=0, devices=())
    assert left_out(Wants(), "alice", silent) == ""
    assert left_out(Wants(cores=1), "alice", silent) == "does not say how many cores, 1 are required"
    assert left_out(Wants(memory=1), "alice", silent) == "does not say how much memory, 1 bytes are required"
    assert left_out(Wants(device="cpu"), "alice", silent) == "offers no device, and cpu is required"


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_offering_more_never_leaves_out(cores: int, more: int, memory: int, room: int) -> None:
    wanted = Wants(cores=cores, memory=memory)
    assert left_out(wanted, "alice", replace(HELLO, cores=cores + more, memory=memory + room)) == ""


def test_a_device_is_offered_by_its_kind_or_by_its_number() -> None:
    assert offers(["cuda:1"], "cuda")
    assert offers(["cuda:1"], "cuda:1")
    assert not offers(["cuda:1"], "cuda:0")
    assert not offers(["cuda"], "cuda:0")


def test_sizes_are_said_in_three_digits() -> None:
    assert [size(each) for each in (12, 1500, 10**9, 8_589_934_592)] == ["12 bytes", "1.5 kB", "1 GB", "8.59 GB"]
