"""What an Envoy offers to experiments, and announces: what its owner allows, as far as its machine has it."""

from __future__ import annotations

from dataclasses import dataclass

from hansa.runtime import machine
from hansa.runtime.config import EnvoyConfig


@dataclass(frozen=True, slots=True)
class Offer:
    """What a work may use.

    Attributes:
        cores: processors.
        memory: bytes.
    """

    cores: int
    memory: int


def offered(config: EnvoyConfig) -> Offer:
    """What works may use here; where the system does not say what there is, the owner's word counts."""
    limits, there = config.limits, machine.memory()
    return Offer(min(limits.threads, machine.cores()), min(limits.memory, there) if there else limits.memory)
