"""A crew of Ray actors: started, replaced and ended together. What they are sent is put into Ray's store once for all of them.

This file must not know what they are asked.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hansa.core.tree import Array
from hansa.errors import ChildDied, ExperimentFileError, MissingExtra, NotConnected
from hansa.experiment.reference import Mode
from hansa.simulation.processes.failures import Told, again
from hansa.simulation.processes.lending import Lending
from hansa.simulation.processes.letters import Letter, Letters
from hansa.simulation.processes.origin import Origin
from hansa.simulation.processes.port import Manning
from hansa.simulation.processes.progress import At
from hansa.simulation.ray.actor import Actor, memory_of, readable

try:
    import ray
except ImportError as missing:
    raise MissingExtra.of("ray", "ray", "simulating on a Ray cluster") from missing

PUT = 1 << 16
"""Bytes of a letter from which it is put into Ray's store, where the actors of one machine share it."""


PATIENCE = 1.0
"""Seconds that actors have to clean up."""


@dataclass(frozen=True)
class Stored:
    """A letter that is sent to actors.

    Attributes:
        memory: it, or the reference to it in Ray's store.
        chunk: the number of the chunk that it holds, if any.
    """

    memory: Any
    chunk: int | None

    def close(self) -> None:
        """Ray frees it with the last reference."""


class ActorMember:
    """One actor, seen from here."""

    def __init__(self, handle: Any) -> None:
        self.handle, self.known, self.ready = handle, set[int](), False
        self.asked: deque[tuple[Any, int | None]] = deque([(handle.begun.remote(), None)])

    @property
    def at(self) -> At:
        """What an actor computed when it was lost, nobody knows: all of the first chunk that it had not answered."""
        chunk = next((number for _, number in self.asked if number is not None), 0)
        return At(chunk, sys.maxsize, 0, 0.0)

    def send(self, sealed: Stored) -> None:
        """Send it a letter."""
        self.asked.append((self.handle.read.remote(sealed.memory), sealed.chunk))


class ActorCrew:
    """See the top of this file.

    Args:
        origin: where they find the works.
        mode: of the run.
        device: where works compute.
        engine: the only one to use.
        workers: how many; None for one on each of the cluster's cores.
        address: the cluster's, as `ray.init` takes it; None for the one that is connected to, or else one on this machine.
        gpu_fraction: the share of a GPU that each is given.

    Attributes:
        members: its actors.
        manning: how many there are, and how.
        lending: what they are lent.

    Raises:
        ConfigError: there is no worker.
        NotConnected: there is no such cluster.
    """

    once = ""
    forgiving = True

    def __init__(
        self,
        origin: Origin,
        mode: Mode = "reference",
        device: str = "cpu",
        engine: str | None = None,
        workers: int | None = None,
        address: str | None = None,
        gpu_fraction: float | None = None,
    ) -> None:
        self._mine = not ray.is_initialized()
        if self._mine:
            _connect(address)
        cluster: Any = ray  # which types some of its functions only
        cores = int(cluster.cluster_resources().get("CPU", 1)) if workers is None else workers
        self.manning, self._share = Manning(cores, mode, device, engine), gpu_fraction
        self._letters = Letters(origin.names, origin.own)
        self.lending = Lending(origin, self.sealed)
        self.members: list[ActorMember] = []
        self._origin, self._contents, self._stillborn = origin, origin.contents(), 0
        self.begin()

    def sealed(self, letter: Letter) -> Stored:
        """A letter, ready to be sent to any of them."""
        memory = memory_of(self._letters.written(letter))
        chunk = letter.head["chunk"] if letter.kind == "visits" else None
        return Stored(memory if memory.nbytes < PUT else ray.put(memory), chunk)

    def begin(self) -> None:
        """Let those come who are lacking."""
        while len(self.members) < self.manning.processes:
            self.members.append(self._started())

    def wait(self, seconds: float | None) -> Iterator[tuple[ActorMember, Letter | None]]:
        """What comes next; None of who is lost.

        Raises:
            ExperimentFileError: the works cannot be loaded.
            ChildDied: actors keep being lost before they have loaded them.
        """
        first = {member.asked[0][0]: member for member in self.members if member.asked}
        if not first:
            return
        came, _ = ray.wait(list(first), num_returns=1, timeout=seconds)
        for member in [first[each] for each in came]:
            replies = self._replies(member)
            if replies is None:
                self._count(member)
                yield member, None
                continue
            member.asked.popleft()
            for memory in replies:
                letter = self._letters.read(readable(memory, writable=True))
                if letter.kind == "failed":
                    what = Told(*letter.head["told"])
                    problem = f"the actors cannot load the works: {what.kind}: {what.said}"
                    raise ExperimentFileError(
                        problem, hint="load the experiment's file by hand to see where it fails"
                    ) from again(what)
                if letter.kind == "ready":
                    member.ready = True
                else:
                    yield member, letter

    def replace(self, member: ActorMember, why: str = "") -> str:
        """End an actor, and let another come in its stead. Returns how it ended, in words."""
        self.members.remove(member)
        _kill(member)
        self.begin()
        return why or "its actor was lost, twice"

    def end(self) -> None:
        """End all of them, now: who computes has no time to clean up."""
        with contextlib.suppress(Exception):  # some are lost, or the cluster is
            leaving = [member.handle.leave.remote() for member in self.members if member.ready]
            if leaving:
                ray.wait(leaving, num_returns=len(leaving), timeout=PATIENCE)
        for member in self.members:
            _kill(member)
        self.members.clear()

    def close(self) -> None:
        """End all of them, and the cluster, if it was started here."""
        self.end()
        self.lending.close()
        if self._mine and ray.is_initialized():
            ray.shutdown()

    def _started(self) -> ActorMember:
        kind: Any = ray.remote(num_cpus=1, num_gpus=self._share or 0, max_restarts=0)(Actor)
        target = Path(self._origin.target).name if self._contents else self._origin.target
        path = [*self._origin.path, *sys.path]
        return ActorMember(kind.remote(target, self._contents, path, asdict(self.manning)))

    def _count(self, member: ActorMember) -> None:
        """An actor is lost: too many that never began are not the cluster's fault."""
        self._stillborn = 0 if member.ready else self._stillborn + 1
        if self._stillborn > 2 * self.manning.processes:
            raise ChildDied("actors are lost before they have loaded the works", hint="Ray's logs say more")

    def _replies(self, member: ActorMember) -> list[Array] | None:
        try:
            replies: list[Array] = ray.get(member.asked[0][0])
        except ray.exceptions.RayActorError:
            return None
        except ray.exceptions.RayTaskError as problem:
            raise ChildDied(f"an actor failed: {problem}") from problem
        return replies


def _connect(address: str | None) -> None:
    try:
        ray.init(address=address, include_dashboard=False, logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError) as problem:
        raise NotConnected(
            f"there is no Ray cluster: {problem}", where=address or "this machine", hint="check the address"
        ) from problem


def _kill(member: ActorMember) -> None:
    with contextlib.suppress(Exception):  # it is gone already, or the cluster is
        ray.kill(member.handle)
