"""What an Envoy offers of its machine, and what the doctor says of that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hansa.errors import ConfigError
from hansa.runtime import machine
from hansa.runtime.children.limits import Limits
from hansa.runtime.config import EnvoyConfig, EnvoyLimits, template_envoy
from hansa.runtime.doctor.finding import Level
from hansa.runtime.doctor.machine import offer
from hansa.runtime.envoy.collaborators import limits_of
from hansa.runtime.envoy.offer import offered

GIB = 2**30


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EnvoyConfig:
    """The default settings, on a machine of 4 processors and 6 GiB."""
    monkeypatch.setattr(machine, "cores", lambda: 4)
    monkeypatch.setattr(machine, "memory", lambda: 6 * GIB)
    (tmp_path / "envoy.toml").write_text(template_envoy("alice", "127.0.0.1:1", "ward:Ward"))
    return EnvoyConfig.load(tmp_path / "envoy.toml")


def allowing(config: EnvoyConfig, **limits: int) -> EnvoyConfig:
    return replace(config, limits=replace(config.limits, **limits))  # type: ignore[arg-type]  # whole numbers all of them


def test_the_owners_bound_counts_where_it_is_the_smaller(config: EnvoyConfig) -> None:
    may = offered(allowing(config, threads=2, memory=GIB))
    assert (may.cores, may.memory) == (2, GIB)


def test_nobody_offers_more_than_there_is(config: EnvoyConfig) -> None:
    may = offered(allowing(config, threads=64, memory=100 * GIB))
    assert (may.cores, may.memory) == (4, 6 * GIB)


def test_where_the_system_does_not_say_the_owners_word_counts(
    config: EnvoyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "memory", lambda: 0)
    assert offered(allowing(config, memory=100 * GIB)).memory == 100 * GIB


def test_the_doctor_warns_of_a_promise_that_cannot_be_kept(config: EnvoyConfig) -> None:
    kept = offer(allowing(config, memory=GIB))
    assert (kept.level, kept.found) == (Level.OK, "an experiment may use 1 core, 1 GiB of memory, 3600 s at a visit")
    many = offer(allowing(config, threads=8, memory=GIB))
    assert many.level is Level.WARNING
    assert "the settings say 8 threads, and this machine has 4 processors" in many.found
    much = offer(allowing(config, memory=7 * GIB))
    assert much.level is Level.WARNING
    assert "the settings say 7 GiB, which this machine does not have" in much.found


def test_the_bounds_reach_the_children(config: EnvoyConfig) -> None:
    limits = limits_of(allowing(config, threads=3, memory=GIB, nice=11))
    assert limits == Limits(memory=GIB, cpu=3, nice=11)


def test_nobody_yields_by_more_than_unix_lets_them() -> None:
    with pytest.raises(ConfigError, match="nice is at most 19, not 20"):
        EnvoyLimits(nice=20)
    with pytest.raises(ConfigError, match="a child cannot yield by -1"):
        Limits(nice=-1)


def test_a_container_has_what_its_group_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = machine.memory()
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    assert machine.memory() >= there > 0
    (tmp_path / "memory.max").write_text("max\n")
    unlimited = machine.memory()
    (tmp_path / "memory.max").write_text("268435456\n")
    assert machine.memory() == 268435456 < unlimited
    (tmp_path / "memory.max").write_text(f"{1 << 63}\n")  # how version 1 says that there is none
    assert machine.memory() == unlimited
