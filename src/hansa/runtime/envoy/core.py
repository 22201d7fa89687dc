"""The heart of an Envoy: events go into the state machine one at a time, and its effects are done in order.

What takes long (fetching, working, sending an update) is begun, and is an event when it is done.
"""

from __future__ import annotations

import asyncio
import logging
import math
import shutil
import time
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hansa.errors import HansaError, StoreError
from hansa.protocol import wire
from hansa.protocol.effects import Abort, Consider, Deliver, Discard, Fetch, Forget, Prepare, Say, Work
from hansa.protocol.envoy import Died, Envoy, Fetched, Hears, Passes, Prepared, Worked
from hansa.protocol.facts import Answered
from hansa.protocol.messages import Answer, Beat, Blob, Consent, Holding, Result
from hansa.runtime.envoy.approval import Approval
from hansa.runtime.envoy.collaborators import Collaborators, DiedAtWork, FailedAtWork
from hansa.runtime.envoy.transfers import Transfers
from hansa.runtime.handling import Handling
from hansa.runtime.ledger import Ledger
from hansa.runtime.points import passes
from hansa.runtime.shelf import Shelf

_log = logging.getLogger("hansa.envoy")


class Core:
    """An Envoy's state machine, and whoever does what it wants.

    Args:
        machine: restored from the ledger.
        ledger: where facts go.
        shelf: where blobs lie.
        collaborators: the child processes.
        approval: the owner's policy.
        transfers: moves blobs to and from the Director.
        folder: the runs' own folders.

    Attributes:
        outgoing: what is to be sent in this session, each message as its kind and its bytes.
        failed: is set to what went wrong with the whole Envoy.
    """

    def __init__(
        self,
        machine: Envoy,
        ledger: Ledger,
        shelf: Shelf,
        collaborators: Collaborators,
        approval: Approval,
        transfers: Transfers,
        folder: Path,
    ) -> None:
        self.machine, self.ledger, self.shelf, self.folder = machine, ledger, shelf, folder
        self.outgoing: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.approval = approval
        self._collaborators, self._transfers = collaborators, transfers
        self._handling = Handling("envoy", machine, ledger, self._do)
        self.failed = self._handling.failed
        self._tasks: dict[tuple[object, ...], asyncio.Task[None]] = {}
        self._said: set[tuple[str, int, str]] = set()  # the answers whose Result was put into `outgoing`

    async def handle(self, event: Any) -> None:
        """Let an event happen; when this returns, all that follows from it is done or begun, even if its caller has gone."""
        if isinstance(event, Hears):
            passes(f"envoy: {type(event.message).__name__} heard")
        await self._handling.handle(event)

    def begin_session(self) -> None:
        """Forget what an earlier session did not take: the Director is told anew what there is."""
        self._said.clear()
        while not self.outgoing.empty():
            self.outgoing.get_nowait()

    async def keep_time(self) -> None:
        """Let time pass: signs of life. Runs until it is cancelled."""
        while True:
            self._handling.woken.clear()
            wait = self.machine.wake - time.time()
            try:
                async with asyncio.timeout(
                    None if wait == math.inf else wait
                ):  # wait_for of Python 3.11 loses cancellations
                    await self._handling.woken.wait()
            except TimeoutError:
                await self.handle(Passes())

    async def stop(self) -> None:
        """Begin nothing more, and end what is under way; what was answered is on disk."""
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._handling.turns.close()
        await self._collaborators.stop_all()

    # --- what is done at once

    async def _do(self, effect: Any) -> None:
        await self._EFFECTS[type(effect)](self, effect)

    async def _say(self, effect: Say) -> None:
        message = effect.message
        if isinstance(message, Answer) and message.consent is not Consent.READY:
            _log.info("run %s: %s%s", message.run, message.consent, f": {message.why}" if message.why else "")
        if isinstance(message, Beat):
            message = replace(message, holding=tuple(map(self._as_far_as_it_is, message.holding)))
            self._said &= {(each.run, each.ask, each.client) for each in message.holding}
        self._put(message)

    def _as_far_as_it_is(self, holding: Holding) -> Holding:
        """An answer that is on its way is not said to be here: else it would be asked for again, and might be sent twice."""
        which = holding.run, holding.ask, holding.client
        done, of = self._collaborators.progress.get(which, (0, 0))
        on_its_way = which in self._said or ("deliver", *which) in self._tasks
        return replace(holding, done=done, of=of, answered=holding.answered and not on_its_way)

    async def _discard(self, effect: Discard) -> None:
        await self.shelf.discard(effect.blobs)

    async def _abort(self, effect: Abort) -> None:
        if (task := self._tasks.get(("work", effect.run, effect.ask, effect.client))) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _forget(self, effect: Forget) -> None:
        for key, task in list(self._tasks.items()):
            if effect.run in key:
                task.cancel()
        await self._collaborators.forget(effect.run)
        self.approval.forget(effect.run)
        await self.ledger.forget(effect.run)
        await asyncio.to_thread(shutil.rmtree, self.folder / effect.run, ignore_errors=True)
        _log.info("run %s is over", effect.run)

    # --- what is begun

    async def _consider(self, effect: Consider) -> None:
        self._begin(("consider", effect.offer.run), self._considered(effect))

    async def _considered(self, effect: Consider) -> None:
        await self.handle(await self.approval.consider(effect.offer, self._transfers.fetched))

    async def _prepare(self, effect: Prepare) -> None:
        self._begin(("prepare", effect.run), self._prepared(effect.run))

    async def _prepared(self, run: str) -> None:
        try:
            manifest, contents = self.approval.package(run)
            await self._collaborators.prepare(run, manifest, contents)
        except HansaError as problem:
            _log.error("run %s cannot run here: %s", run, problem.line)
            await self.handle(Prepared(run, problem.line))
        else:
            await self.handle(Prepared(run))

    async def _fetch(self, effect: Fetch) -> None:
        self._begin(("fetch", effect.run, effect.ask, effect.client), self._got(effect))

    async def _got(self, effect: Fetch) -> None:
        for blob in effect.blobs:
            await self._transfers.fetched(effect.run, blob)
        passes("envoy: blobs fetched")
        await self.handle(Fetched(effect.run, effect.ask, effect.client))
        for blob in effect.blobs:
            await self.shelf.release(blob.sha256, effect.run)

    async def _work(self, effect: Work) -> None:
        asked = effect.assign
        self._begin(("work", asked.run, asked.ask, asked.client), self._done(effect))

    async def _done(self, effect: Work) -> None:
        asked = effect.assign
        answered = Answered(asked.run, asked.ask, asked.client)
        try:
            paths = {blob: self._there(blob) for blob in (asked.broadcast, asked.inputs, effect.state) if blob}
            done = await self._collaborators.work(asked, paths, effect.state)
            update = await self.shelf.put(done.update, asked.client)
            state = None if done.state is None else await self.shelf.put(done.state, asked.client)
            answered = Answered(
                asked.run, asked.ask, asked.client, update, done.weight, done.metrics, state=state, log=done.log
            )
        except FailedAtWork as problem:
            answered = Answered(asked.run, asked.ask, asked.client, failure=problem.what, log=problem.log)
            _log.warning("run %s, ask %d: the work of %s failed", asked.run, asked.ask, asked.client)
        except (DiedAtWork, StoreError) as problem:
            final = isinstance(problem, DiedAtWork) and problem.final
            await self.handle(Died(asked.run, asked.ask, asked.client, problem.what, final))
            return
        await self.handle(Worked(answered))
        for blob in (answered.update, answered.state):
            if blob is not None:
                await self.shelf.release(blob.sha256, asked.client)

    async def _deliver(self, effect: Deliver) -> None:
        told = effect.result
        key = ("deliver", told.run, told.ask, told.client)
        if key not in self._tasks:
            self._begin(key, self._delivered(told))

    async def _delivered(self, told: Result) -> None:
        if told.update is not None:
            await self._transfers.deliver(told)
        passes("envoy: Result not sent")
        self._put(told)
        self._said.add((told.run, told.ask, told.client))

    def _put(self, message: object) -> None:
        self.outgoing.put_nowait((type(message).__name__, wire.encode(message)))

    def _there(self, blob: Blob) -> Path:
        path = self.shelf.path(blob.sha256)
        if path is None:
            raise DiedAtWork(f"the file {blob.sha256} is gone", final=False)
        return path

    def _begin(self, key: tuple[object, ...], what: Coroutine[Any, Any, None]) -> None:
        """Do something in the background; what goes wrong with it concerns its own run, or else the whole Envoy."""
        task = self._tasks[key] = asyncio.create_task(what, name=" ".join(map(str, key)))

        def ended(done: asyncio.Task[None]) -> None:
            if self._tasks.get(key) is done:
                del self._tasks[key]
            if done.cancelled() or (problem := done.exception()) is None:
                return
            if isinstance(problem, HansaError):
                _log.warning("%s: %s", done.get_name(), problem.line)
            else:
                self._handling.fail(problem)

        task.add_done_callback(ended)

    _EFFECTS: Mapping[type, Any] = {
        Say: _say,
        Discard: _discard,
        Abort: _abort,
        Forget: _forget,
        Consider: _consider,
        Prepare: _prepare,
        Fetch: _fetch,
        Work: _work,
        Deliver: _deliver,
    }
