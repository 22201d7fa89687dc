"""The Collaborators of an Envoy: for each run a child process that works on the owner's data, one visit at a time.

A child that dies takes nobody along: whoever waits for its work is told, and the next work starts another child.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from hansa.errors import ChildDied, DataError, HansaError, NotAllowed, ProtocolError
from hansa.experiment.environments import inherit, isolated
from hansa.experiment.manifest import Manifest
from hansa.experiment.package import unpack
from hansa.protocol.envoy import ATTEMPTS
from hansa.protocol.messages import Assign, Blob
from hansa.runtime.children import trace
from hansa.runtime.children.limits import Limits
from hansa.runtime.children.pulse import Pulse, computed_by
from hansa.runtime.children.spawn import Child
from hansa.runtime.config import Environment, EnvoyConfig
from hansa.runtime.points import inherited
from hansa.runtime.printed import MOST

TARGET, CENSUS = "hansa.runtime.collaborator:main", "hansa.runtime.census:census"

COUNTS = 2**63
"""What a child counts stays below this, or it does not travel."""

_log = logging.getLogger("hansa.envoy.collaborators")


class DiedAtWork(HansaError):
    """A Collaborator died while it worked. `final` says that it would again."""

    def __init__(self, what: str, *, final: bool) -> None:
        super().__init__(what)
        self.final = final


class FailedAtWork(HansaError):
    """The work raised, or its answer may not leave; what is said of it holds no value of the data. `log`: what it printed."""

    def __init__(self, what: str, log: str = "") -> None:
        super().__init__(what)
        self.log = log


@dataclass(frozen=True)
class Done:
    """What a Collaborator has written: files of its own folder, to be taken over."""

    update: Path
    state: Path | None
    weight: float
    metrics: str
    log: str = ""


@dataclass
class _Job:
    """What is needed to start a run's Collaborator, and the child, if there is one."""

    entry: Path
    python: Path
    child: Child | None = None
    births: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Collaborators:
    """The running ones.

    Args:
        config: the Envoy's.
        folder: the runs' own folders.
        shared: a folder for what outlives a run: environments, and logs.

    Attributes:
        progress: of the works that told of it, by run, ask and client: steps that are done, and of how many.
    """

    def __init__(self, config: EnvoyConfig, folder: Path, shared: Path) -> None:
        self._config, self._folder, self._shared = config, folder, shared
        self._jobs: dict[str, _Job] = {}
        self.progress: dict[tuple[str, int, str], tuple[int, int]] = {}
        self._schema: Mapping[str, Any] | None = None

    async def census(self, scratch: Path) -> Mapping[str, Any]:
        """Look at the owner's data, in a child of its own, and say what may be announced: `ShardFacts`, as JSON.

        Raises:
            DataError: the data, or the owner's class that reads them, are not as they should be.
        """
        for left in range(ATTEMPTS - 1, -1, -1):
            try:
                said = await self._looked(scratch)
                break
            except ChildDied as problem:
                if not left:
                    log = str(scratch.with_suffix(".log"))
                    raise DataError(f"the data could not be looked at: {problem.what}", where=log) from problem
                _log.warning("%s; it is started again", problem.line)
        if "refused" in said:
            raise DataError(**said["refused"])
        facts: Mapping[str, Any] = said["facts"]
        self._schema = facts["schema"]
        return facts

    async def _looked(self, scratch: Path) -> Mapping[str, Any]:
        """What a child says of the owner's data.

        Raises:
            ChildDied: it died before it said anything.
        """
        limits, log = self._limits(), scratch.with_suffix(".log")
        async with await Child.start(CENSUS, limits=limits, folder=scratch, log=log, path=self._path()) as child:
            await child.send({"shard": self._shard(), "envoy": self._config.name, "schema": None})
            said = await child.receive()
            if said is None:
                ended = await child.ended()
                raise ChildDied(f"the child process {ended.text}")
        return said

    async def prepare(self, run: str, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
        """Make a run's environment, lay its source out, and start its Collaborator.

        Raises:
            HansaError: that is not possible here.
        """
        if self._config.environment is Environment.ISOLATED:
            cache = self._shared / "environments"
            environment = await asyncio.to_thread(
                isolated, manifest.requirements, cache, python=manifest.python, progress=_log.info
            )
        else:
            environment = await asyncio.to_thread(inherit, manifest.requirements, python=manifest.python)
        source = self._folder / run / "source"
        await asyncio.to_thread(unpack, manifest, contents.__getitem__, source)
        job = self._jobs[run] = _Job(source / manifest.entry, environment.python)
        async with job.turn:
            for left in range(ATTEMPTS - 1, -1, -1):
                try:
                    await self._born(run, job)
                except ChildDied as problem:  # somebody killed it, perhaps; that must not keep an owner out of a run
                    if not left:
                        raise
                    _log.warning("run %s: %s; it is started again", run, problem.line)
                else:
                    return

    async def work(self, asked: Assign, paths: Mapping[Blob, Path], state: Blob | None) -> Done:
        """Let a run's Collaborator do one visit.

        Raises:
            DiedAtWork: it died meanwhile, or took longer than the owner allows.
            FailedAtWork: the work raised, or its answer may not leave.
        """
        job = self._jobs[asked.run]
        async with job.turn:
            try:
                child = job.child or await self._born(asked.run, job)
            except HansaError as problem:
                final = not isinstance(problem, ChildDied)
                raise DiedAtWork(f"the Collaborator cannot be started: {problem.line}", final=final) from problem
            message = {
                "client": asked.client,
                "work": asked.work,
                "round": asked.round,
                "occurrence": asked.occurrence,
                "settings": asked.settings,
                "broadcast": str(paths[asked.broadcast]),
                "inputs": str(paths[asked.inputs]) if asked.inputs else None,
                "state": str(paths[state]) if state else None,
            }
            answered = False
            try:
                said = await self._answer(child, message, (asked.run, asked.ask, asked.client))
                answered = True
            finally:
                self.progress.pop((asked.run, asked.ask, asked.client), None)
                if not answered:  # it died, or nobody waits for it any more: it is of no use in the middle of a work
                    job.child = None
                    await child.kill()
        return self._done(said, self._scratch(asked.run, job))

    async def stop(self, run: str) -> None:
        """End a run's Collaborator; the next work starts another."""
        job = self._jobs.get(run)
        if job is not None and job.child is not None:
            child, job.child = job.child, None
            await child.kill()

    async def forget(self, run: str) -> None:
        """End a run's Collaborator for good."""
        await self.stop(run)
        self._jobs.pop(run, None)

    async def stop_all(self) -> None:
        """End them all."""
        for run in list(self._jobs):
            await self.stop(run)

    # --- one child

    async def _born(self, run: str, job: _Job) -> Child:
        job.births += 1
        folder, scratch = self._folder / run, self._scratch(run, job)
        for old in folder.glob("scratch-*"):
            await asyncio.to_thread(shutil.rmtree, old, ignore_errors=True)
        child = await Child.start(
            TARGET,
            limits=self._limits(),
            folder=scratch,
            log=self._log(run),
            python=job.python,
            path=self._path(),
            env=inherited(),
            widen=self._config.leaves.messages,
        )
        try:
            await child.send(
                {
                    "entry": str(job.entry),
                    "folder": str(scratch),
                    "shard": self._shard(),
                    "envoy": self._config.name,
                    "schema": self._schema,
                    "devices": list(self._config.devices),
                    "threads": self._config.limits.threads,
                    "widen": self._config.leaves.messages,
                    "logs": self._config.leaves.logs,
                }
            )
            said = await self._loaded(child)
            if "lacks" in said:
                offered = ", ".join(self._config.devices)
                raise NotAllowed(f"the experiment needs another device than those that are offered here: {offered}")
            if "broken" in said:
                told = trace.render(trace.checked(said["broken"], widen=self._config.leaves.messages))
                raise NotAllowed(f"the experiment cannot be loaded here:\n{told}")
        except BaseException:
            await child.kill()
            raise
        job.child = child
        return child

    async def _loaded(self, child: Child) -> Mapping[str, Any]:
        """What a child says of the experiment, once it has loaded it."""
        limit = self._config.limits.time
        try:
            async with asyncio.timeout(limit):
                said = await child.receive()
                if said is None:
                    ended = await child.ended()
                    raise ChildDied(f"the Collaborator {ended.text} while it loaded the experiment")
        except TimeoutError as problem:
            raise NotAllowed(f"the experiment was not loaded within {limit:g} s") from problem
        return said

    async def _answer(self, child: Child, message: dict[str, Any], visit: tuple[str, int, str]) -> Mapping[str, Any]:
        limit = self._config.limits.time
        try:
            async with asyncio.timeout(limit):
                await child.send(message)
                said = await self._heard(child, visit)
                if said is None:
                    ended = await child.ended()
                    raise DiedAtWork(f"the Collaborator {ended.text}", final=False)
        except TimeoutError as problem:
            raise DiedAtWork(f"the work exceeded its time limit of {limit:g} s", final=True) from problem
        except ChildDied as problem:
            raise DiedAtWork(problem.what, final=False) from problem
        except ProtocolError as problem:
            raise DiedAtWork(
                f"the Collaborator said what cannot be understood: {problem.what}", final=True
            ) from problem
        return said

    async def _heard(self, child: Child, visit: tuple[str, int, str]) -> Mapping[str, Any] | None:
        """A child's answer, after whatever it says of its progress; None where it has gone.

        Raises:
            DiedAtWork: it does nothing any more.
        """
        stall = self._config.limits.stall
        pulse = Pulse(stall, partial(computed_by, child.pid))
        while True:
            try:
                async with asyncio.timeout(pulse.look):
                    said = await child.receive()
            except TimeoutError:
                if pulse.stopped():
                    raise DiedAtWork(f"the work has done nothing for {stall:g} s", final=False) from None
                continue
            match said:
                case {"progress": [int(done), int(of)]} if 0 <= done < COUNTS and 0 <= of < COUNTS:
                    self.progress[visit] = done, of
                    pulse.beats()
                case _:
                    return said

    def _done(self, said: Mapping[str, Any], scratch: Path) -> Done:
        log = str(said.get("printed", ""))[:MOST] if self._config.leaves.logs else ""
        if "failed" in said:
            widen = self._config.leaves.messages
            raise FailedAtWork(trace.render(trace.checked(said["failed"], widen=widen)), log)
        try:
            worked = said["worked"]
            metrics, most = str(worked["metrics"]), self._config.leaves.metrics_limit
            state = Path(worked["state"]) if worked["state"] else None
            done = Done(Path(worked["update"]), state, float(worked["weight"]), metrics, log)
        except (LookupError, TypeError, ValueError) as problem:
            raise FailedAtWork("the Collaborator said what cannot be understood") from problem
        if any(path.parent != scratch or path.name == ".." for path in (done.update, done.state) if path is not None):
            raise FailedAtWork("the Collaborator named a file outside of its folder")
        if len(metrics) > most:
            raise FailedAtWork(f"its metrics take {len(metrics)} bytes, and its owner lets {most} leave")
        return done

    def _log(self, run: str) -> Path:
        """A run's log, which stays at the owner when the run is over."""
        logs = self._shared / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        return logs / f"{run}.log"

    def _scratch(self, run: str, job: _Job) -> Path:
        """The folder of the present child, and the only one whose files it may name."""
        return self._folder / run / f"scratch-{job.births}"

    def _limits(self) -> Limits:
        return limits_of(self._config)

    def _shard(self) -> dict[str, Any]:
        shard = self._config.shard
        return {
            "descriptor": shard.descriptor,
            "parameters": dict(shard.parameters),
            "folder": str(shard.folder),
            "check": shard.check,
        }

    def _path(self) -> list[Path]:
        return [self._config.shard.folder]


def limits_of(config: EnvoyConfig) -> Limits:
    """What a child may take, as the owner says it."""
    said = config.limits
    return Limits(memory=said.memory, cpu=said.threads, network=said.network, user=said.user or None, nice=said.nice)
