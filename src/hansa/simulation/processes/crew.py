"""The crew: the worker processes of an executor, started, replaced and ended together.

This file must not know what they are asked.
"""

from __future__ import annotations

import contextlib
import select
import sys
import weakref
from collections.abc import Iterator

from hansa.errors import ChildDied, ExperimentFileError
from hansa.simulation.processes.child import Orders
from hansa.simulation.processes.failures import Told, again
from hansa.simulation.processes.lending import Lending
from hansa.simulation.processes.letters import Letter, Letters
from hansa.simulation.processes.origin import Origin
from hansa.simulation.processes.port import Manning
from hansa.simulation.processes.post import Parcel
from hansa.simulation.processes.process import Process


class ProcessCrew:
    """See the top of this file. Its processes start at once, and those that it lacks with the next `man`.

    Args:
        origin: where they find the works.
        manning: how many, and how.

    Attributes:
        members: its processes.
        manning: as given.
        letters: writes and reads letters.
        lending: what they are lent.
        once: why each process serves one client only, where that is so.
    """

    forgiving = False

    def __init__(self, origin: Origin, manning: Manning) -> None:
        self.manning, self.once = manning, ""
        self.letters = Letters(origin.names, origin.own)
        letters = self.letters
        self.lending = Lending(origin, lambda letter: Parcel.of(letters.written(letter)))
        self.members: list[Process] = []
        self._origin, self._poll = origin, select.poll()
        self._of: dict[int, Process] = {}
        weakref.finalize(self, _close, self.members, self.lending)
        self.man()

    def sealed(self, letter: Letter) -> Parcel:
        """A letter in memory that all of them can be sent."""
        return Parcel.of(self.letters.written(letter))

    def man(self) -> None:
        """Start the processes that are lacking."""
        while len(self.members) < self.manning.processes:
            self._start()

    def begin(self) -> None:
        """Start the processes that are lacking; where it matters how they can be used, wait until one of them says it.

        Raises:
            HansaError: as `wait`.
        """
        self.man()
        while self.manning.fresh and not any(member.ready for member in self.members):
            for member, letter in list(self.wait(None)):
                if letter is None:
                    self.replace(member)

    def wait(self, seconds: float | None) -> Iterator[tuple[Process, Letter | None]]:
        """What comes next: letters, and None of who has ended; nothing after so many seconds.

        Raises:
            ExperimentFileError: the works cannot be loaded.
            ChildDied: a process ended before it had loaded them.
        """
        events = self._poll.poll(None if seconds is None else max(1, int(seconds * 1000)))
        for member in dict.fromkeys(self._of[descriptor] for descriptor, _ in events):
            if member not in self.members:
                continue  # replaced meanwhile
            speaks = any(descriptor == member.descriptors[0] for descriptor, _ in events)
            memory = member.receive() if speaks else None
            if memory is not None:
                letter = self.letters.read(memory)
                if letter.kind == "ready":
                    member.ready, self.once = True, letter.head["once"]
                elif letter.kind == "failed":
                    self._failed(member, Told(*letter.head["told"]))
                else:
                    yield member, letter
            elif speaks or member.has_ended():
                if not member.ready:
                    self._died_at_once(member)
                yield member, None

    def replace(self, member: Process, why: str = "") -> str:
        """End a process, and start another in its stead. Returns how it ended, in words."""
        ended = self._dismiss(member, why)
        self.man()
        return ended

    def end(self) -> None:
        """End all of them, now. They are started again by `man`."""
        _end(self.members)
        for descriptor in self._of:
            with contextlib.suppress(KeyError):
                self._poll.unregister(descriptor)
        self._of.clear()

    def close(self) -> None:
        """End all of them, and take back what was lent."""
        self.end()
        self.lending.close()

    def _start(self) -> None:
        manning = self.manning
        fraction = manning.gpu_fraction
        orders = Orders(
            self._origin.target,
            [*self._origin.path, *sys.path],
            manning.mode,
            manning.device,
            manning.engine,
            manning.fresh,
            fraction,
            manning.timeout,
        )
        environment = {} if fraction is None else {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{fraction:g}"}
        member = Process(orders, environment)
        self.members.append(member)
        for descriptor in member.descriptors:
            self._of[descriptor] = member
            self._poll.register(descriptor, select.POLLIN)

    def _dismiss(self, member: Process, why: str = "") -> str:
        for descriptor in member.descriptors:
            self._poll.unregister(descriptor)
            del self._of[descriptor]
        self.members.remove(member)
        return member.kill(why)

    def _failed(self, member: Process, what: Told) -> None:
        """A process says that it cannot go on."""
        cause = again(what)
        if not member.ready:
            problem = f"the worker processes cannot load the works: {what.kind}: {what.said}"
            raise ExperimentFileError(
                problem, hint="load the experiment's file by hand to see where it fails"
            ) from cause
        member.why = f"its worker process failed: {what.kind}: {what.said}"

    def _died_at_once(self, member: Process) -> None:
        words = member.last_words
        how = self._dismiss(member).removeprefix("its worker process ")
        raise ChildDied(
            "\n".join([f"a worker process {how} before it had loaded the works", *words.splitlines()[-5:]]),
            hint="load the experiment's file by hand to see where it fails",
        )


def _close(members: list[Process], lending: Lending) -> None:
    _end(members)
    lending.close()


def _end(members: list[Process]) -> None:
    for member in members:
        member.kill()
    for member in members:
        member.finish()
    members.clear()
