"""The algorithm that runs in the world: a SCAFFOLD of integers, in which nothing can be lost or counted twice unnoticed.

The server keeps a model `x` and a control variate `c`; each client keeps its own variate, which never travels. After every
reply `c` is the sum of the clients' variates; so an update that is lost, counted twice, or computed from another state than
the one that goes with it, changes every number that comes after.

This file must not know of the protocol: it would run in a loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

PRIME = 2_147_483_647


@dataclass(frozen=True, slots=True)
class Program:
    """What the algorithm is to do.

    Attributes:
        rounds: how many.
        works: what is asked in each round, in order: "train" changes the model and the clients' variates, "gradient" the
            model only, "judge" nothing.
    """

    rounds: int
    works: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class State:
    """The algorithm's. `asks` counts those of the present round, `done` the completed rounds, `version` the changes of x."""

    x: int = 1
    c: int = 0
    done: int = 0
    asks: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class Update:
    """What a client computed: the changes of the model and of its variate."""

    dx: int
    dc: int


def next_work(program: Program, state: State) -> str | None:
    """What is asked next; None at the end."""
    return program.works[state.asks] if state.done < program.rounds else None


def cohort(state: State, everyone: Sequence[str]) -> tuple[str, ...]:
    """Whom to ask: all but one now and then; drawn from the round alone."""
    if len(everyone) < 3 or number("cohort", state.done) % 2:
        return tuple(everyone)
    left = number("left", state.done) % len(everyone)
    return tuple(client for place, client in enumerate(everyone) if place != left)


def computed(state: State, client: str, key: tuple[object, ...], variate: int, work: str) -> tuple[Update, int]:
    """What a client computes, and its variate after that."""
    noise = number(client, *key)
    dx = (state.x * 3 + state.c * 5 + variate * 7 + noise) % PRIME
    following = (variate + dx + noise) % PRIME if work == "train" else variate
    return Update(dx, (following - variate) % PRIME), following


def told(program: Program, state: State, work: str, updates: Sequence[Update]) -> State:
    """The state after the updates that count."""
    if work != "judge":
        x = (state.x + sum(update.dx for update in updates)) % PRIME
        c = (state.c + sum(update.dc for update in updates)) % PRIME
        state = replace(state, x=x, c=c, version=state.version + 1)
    asks = state.asks + 1
    return replace(state, asks=asks) if asks < len(program.works) else replace(state, asks=0, done=state.done + 1)


def undisturbed(program: Program, everyone: Sequence[str], run: str) -> State:
    """Where a run ends in which nothing goes wrong and all are asked."""
    state, variates = State(), dict.fromkeys(everyone, 0)
    times: dict[tuple[str, str, int], int] = {}
    while (work := next_work(program, state)) is not None:
        updates = []
        for client in cohort(state, everyone):
            place = client, work, state.done + 1
            times[place] = times.get(place, -1) + 1
            update, variates[client] = computed(
                state, client, (run, state.done + 1, work, times[place]), variates[client], work
            )
            updates.append(update)
        state = told(program, state, work, updates)
    return state


def balanced(state: State, variates: Mapping[str, int]) -> bool:
    """Whether the server's variate is the sum of the clients'."""
    return state.c == sum(variates.values()) % PRIME


def number(*path: object) -> int:
    """A number that depends on nothing but its path."""
    return int.from_bytes(hashlib.blake2b(repr(path).encode(), digest_size=4).digest()) % PRIME
