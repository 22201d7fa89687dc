"""The Aggregators of a Director: for each run a child process, started again by the state machine's wish when it dies.

What a child says becomes events; the files that it names are taken over first, so that whatever an event names is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from hansa.core.ask import Closing, Status
from hansa.errors import ChildDied, HansaError, InputError, ProtocolError
from hansa.experiment.manifest import Manifest
from hansa.experiment.package import unpack
from hansa.protocol.events import Asks, ChildEnds, Event, Fails, Finishes, Judges, Tells, Wants
from hansa.protocol.facts import Fate, Told
from hansa.protocol.messages import Blob
from hansa.protocol.run import Run
from hansa.runtime.children.ended import Ended
from hansa.runtime.children.limits import Limits
from hansa.runtime.children.spawn import Child
from hansa.runtime.points import inherited
from hansa.runtime.shelf import Shelf

TARGET = "hansa.runtime.aggregator:main"

SCRATCH = "scratch"
"""The child's own folder, in the run's."""

LOG = "aggregator.log"
"""What the child prints, in the run's folder."""

END = 3.0
"""Seconds that a child which has closed its channel has to end by itself, so that it is known how it did."""

_log = logging.getLogger("hansa.director.aggregators")

Tell = Callable[[str, Event, tuple[Blob, ...]], Awaitable[None]]


class _Living:
    """A child, and what is still to be said to it: whoever says something does not wait for a child that does not listen.

    Attributes:
        child: the child.
        folder: the only one whose files it may name.
        late: why it was ended for taking too long; empty where it was not.
    """

    def __init__(self, child: Child, seconds: float, folder: Path) -> None:
        self.child, self.folder, self.late, self._seconds = child, folder, "", seconds
        self._outgoing: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[Any]] = [asyncio.create_task(self._send())]
        self._patience: asyncio.TimerHandle | None = None
        self._expect()  # to load the experiment is a step too

    def say(self, say: Mapping[str, Any]) -> None:
        """Put something into the queue; from now on the child has so many seconds to say something itself."""
        self._outgoing.put_nowait(say)
        self._expect()

    async def messages(self) -> AsyncIterator[Mapping[str, Any]]:
        """What the child says, until it ends."""
        while (message := await self.child.receive()) is not None:
            self._heard()
            yield message

    def close(self) -> None:
        """Say nothing more, and expect nothing."""
        self._heard()
        self._tasks[0].cancel()

    def _expect(self) -> None:
        self._heard()
        self._patience = asyncio.get_running_loop().call_later(self._seconds, self._give_up)

    def _heard(self) -> None:
        if self._patience is not None:
            self._patience.cancel()

    def _give_up(self) -> None:
        self.late = f"did not answer within {self._seconds:g} s"
        self._tasks.append(asyncio.create_task(self.child.kill(self.late)))

    async def _send(self) -> None:
        with contextlib.suppress(ChildDied):
            while True:
                await self.child.send(dict(await self._outgoing.get()))


async def _end_of(child: Child) -> Ended:
    """How a child ended that has closed its channel; it is ended if it goes on."""
    try:
        async with asyncio.timeout(END):
            return await child.ended()
    except TimeoutError:
        return await child.kill()


class Aggregators:
    """The running ones.

    Args:
        shelf: where blobs lie.
        limits: of each child.
        seconds: that a child may take for one step.

    Attributes:
        tell: whom to tell what happens; (run, event, the blobs that the event names).
        full: for each run whose Aggregator cannot write, why.
    """

    tell: Tell

    def __init__(self, shelf: Shelf, limits: Limits, seconds: float) -> None:
        self._shelf, self._limits, self._seconds = shelf, limits, seconds
        self._living: dict[str, _Living] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.full: dict[str, str] = {}

    def start(self, run: Run, folder: Path) -> None:
        """Start a run's Aggregator from the last state that is on disk."""
        self._tasks[run.id] = asyncio.create_task(self._attend(run, folder), name=f"aggregator of {run.id}")

    async def stop(self, run: str) -> None:
        """End a run's Aggregator, if there is one."""
        task, living = self._tasks.pop(run, None), self._living.pop(run, None)
        self.full.pop(run, None)
        if living is not None:
            await living.child.kill()
        if task is not None:
            task.cancel()

    async def stop_all(self) -> None:
        """End them all; their runs go on when the Director is started again."""
        for run in list(self._tasks):
            await self.stop(run)

    async def say(self, run: str, say: Mapping[str, Any]) -> None:
        """Say something to a run's Aggregator, without waiting for it; one that has gone is told again when it comes back."""
        if run in self._living:
            self._living[run].say(self._with_paths(say))

    # --- one child

    async def _attend(self, run: Run, folder: Path) -> None:
        """A child's life."""
        try:
            child = await self.born(run, folder)
        except ChildDied as problem:
            await self.tell(run.id, ChildEnds(problem.what), ())
            return
        except HansaError as problem:
            await self.tell(run.id, Fails(f"the Aggregator cannot be started: {problem}"), ())
            return
        self._living[run.id] = living = _Living(child, self._seconds, folder / SCRATCH)
        try:
            async for message in living.messages():
                await self._understood(run.id, message)
        except (HansaError, LookupError, TypeError, ValueError) as problem:
            _log.warning("the aggregator of %s said what cannot be understood: %r", run.id, problem)
            await child.kill("said what cannot be understood")
        finally:
            living.close()
        ended = await _end_of(child)
        if self._living.get(run.id) is living:
            del self._living[run.id]
            late = Fails(f"the Aggregator {living.late}; the Director's owner can allow more: time in [limits]")
            await self.tell(run.id, late if living.late else ChildEnds(ended.text), ())

    async def born(self, run: Run, folder: Path) -> Child:
        """A new child that was told where to begin; who runs it elsewhere than in a process overrides this.

        Raises:
            ChildDied: it died at once.
            HansaError: it cannot be started.
        """
        manifest = Manifest.decode(self._path(run.submission.manifest.sha256).read_bytes())
        source = folder / "source"
        await asyncio.to_thread(unpack, manifest, lambda sha: self._path(sha).read_bytes(), source)
        scratch = folder / SCRATCH
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
        log = folder / LOG
        child = await Child.start(TARGET, limits=self._limits, folder=scratch, log=log, env=inherited())
        initial, told = run.submission.initial, run.told
        start: dict[str, Any] = {"entry": str(source / manifest.entry), "folder": str(scratch), "state": None}
        if told is None:
            start["initial"] = {"path": str(self._path(initial.sha256)), "sha256": initial.sha256}
        else:
            trees = [tree.sha256 for tree in told.trees]
            paths = [str(self._path(sha)) for sha in trees]
            start["state"] = {"document": str(self._path(told.document.sha256)), "trees": trees, "paths": paths}
        try:
            await child.send(start)
        except BaseException:
            await child.kill()
            raise
        return child

    async def _understood(self, run: str, message: Mapping[str, Any]) -> None:
        """What a child says, as an event."""
        ((kind, said),) = message.items()
        if kind != "full":
            self.full.pop(run, None)
        match kind:
            case "wants":
                await self.tell(run, Wants(int(said["beyond"])), ())
            case "judges":
                await self.tell(run, Judges(int(said["ask"]), str(said["client"]), str(said["refusal"])[:1000]), ())
            case "asks":
                await self._asks(run, said)
            case "told":
                await self._told(run, said)
            case "finishes":
                await self.tell(run, Finishes(), ())
            case "fails":
                model = self._known(said["model"]) if said.get("model") else None
                await self.tell(run, Fails(str(said["why"])[:20_000], str(said.get("entry", "")), model), ())
            case "full":
                self.full[run] = str(said["why"])
            case _:
                raise ProtocolError(f"an aggregator said {kind!r}")

    async def _asks(self, run: str, said: Mapping[str, Any]) -> None:
        broadcast = await self._taken(run, said["broadcast"])
        parts = []
        for client, settings, inputs in said["parts"]:
            parts.append((str(client), str(settings), await self._taken(run, inputs) if inputs else None))
        asks = Asks(
            str(said["work"]),
            int(said["round"]),
            int(said["version"]),
            _closing(said["closing"]),
            broadcast,
            tuple(parts),
        )
        await self.tell(run, asks, (broadcast, *(blob for _, _, blob in parts if blob is not None)))

    async def _told(self, run: str, said: Mapping[str, Any]) -> None:
        document = await self._shelf.put(self._own(run, said["document"]), run)
        trees = tuple([await self._taken(run, tree) for tree in said["trees"]])
        fates = tuple(
            Fate(int(ask), str(client), Status(status), str(why)) for ask, client, status, why in said["fates"]
        )
        told = Told(
            run,
            int(said["ask"]),
            fates,
            str(said["entry"]),
            int(said["rounds"]),
            document,
            trees,
            trees[int(said["model"])],
            str(said["environment"]),
            tuple(str(mark) for mark in said["marks"]),
        )
        await self.tell(run, Tells(told), (document, *trees))

    # --- files

    async def _taken(self, run: str, file: Mapping[str, str]) -> Blob:
        """A file that the child names: one that is kept already, or a new one of its own folder."""
        if "sha256" in file:
            return self._known(file["sha256"])
        return await self._shelf.put(self._own(run, file["path"]), run)

    def _own(self, run: str, path: str) -> Path:
        """A path that the child names, if it is in its own folder: what else lies here is not the child's to give away."""
        found = Path(path)
        if run not in self._living or found.parent != self._living[run].folder or found.name == "..":
            raise ProtocolError("an aggregator named a file outside of its folder")
        return found

    def _known(self, sha: str) -> Blob:
        return Blob(sha, self._path(sha).stat().st_size)

    def _path(self, sha: str) -> Path:
        path = self._shelf.path(sha)
        if path is None:
            raise InputError(f"the file {sha} is not here")
        return path

    def _with_paths(self, say: Mapping[str, Any]) -> dict[str, Any]:
        """What is said, with the path of an update instead of its name, and its weight as text: JSON has no number for NaN."""
        arrived = say.get("arrived")
        if arrived is None:
            return dict(say)
        update = None if arrived["update"] is None else str(self._path(arrived["update"]))
        return {"arrived": {**arrived, "update": update, "weight": repr(arrived["weight"])}}


def _closing(said: Mapping[str, Any]) -> Closing:
    """A closing as a child says it."""
    limits = {name: None if said[name] is None else float(said[name]) for name in ("deadline", "grace", "patience")}
    return Closing(said["kind"], int(said["count"]), **limits, retries=int(said["retries"]))
