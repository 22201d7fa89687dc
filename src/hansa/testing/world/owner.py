"""A model of what runs an Envoy's machine: its journal and blobs, its session, its Collaborators, and its owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hansa.protocol.effects import Abort, Consider, Deliver, Discard, Fetch, Forget, Prepare, Record, Say, Work
from hansa.protocol.envoy import Cut, Decided, Died, Envoy, Fetched, Hears, JobPhase, Passes, Prepared, Worked
from hansa.protocol.facts import Answered
from hansa.protocol.messages import Assign, Blob, Consent, Hello, Offer, Result, Welcome
from hansa.testing.world import toy
from hansa.testing.world.clock import Process
from hansa.testing.world.disk import Disk
from hansa.testing.world.network import Session

if TYPE_CHECKING:
    from hansa.testing.world.world import World

LONGEST = 60.0
"""Seconds that a client may take."""


RAISED = "ValueError: train.py:7"
"""What is told of a work that raises."""


class Owner(Process):
    """The Envoy's process.

    Attributes:
        machine: the real one, while it is up.
        disk: what survives.
        decided: what the owner decided about runs; survives.
        gone: it left for good.
        working: which of its works the Collaborators do for whom; by run, ask and client.
        forgotten: how often it forgot each run, and with it whatever was begun for that.
        failed: how often works failed in this life; by run, ask and client.
    """

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world.clock)
        self.world, self.name = world, name
        self.disk = Disk(lambda fact: world.checks.envoy_wrote(name, fact))
        self.machine = Envoy()
        self.decided: dict[str, Consent] = {}
        self.gone = False
        self.session: Session | None = None
        self.working: dict[tuple[str, int, str], int] = {}
        self.forgotten: dict[str, int] = {}
        self.failed: dict[tuple[str, int, str], int] = {}
        self.skew = world.rng.uniform(-1e4, 1e4)
        self.make: type[Envoy] = Envoy
        self._tick = 0.0
        self._count = 0

    # --- its life

    def start(self) -> None:
        """From what is on disk."""
        if self.gone:
            return
        self.up = True
        self.world.trace(self.name, "starts")
        self.machine = self.make(self.disk.facts())
        self.world.checks.envoy_restarted(self)
        self.disk.sweep({"": self.machine.needed()})
        self.session, self.working, self.failed, self._tick = None, {}, {}, 0.0
        self.later(self.world.rng.uniform(0.0, 5.0), self._dial)

    def crash(self) -> None:
        """Everything but the disk is gone; it is started again soon."""
        super().crash()
        self.world.trace(self.name, "CRASHES")
        if self.session is not None:
            self.session.cut()
        self.clock.after(self.world.rng.uniform(0.5, 30.0), self.start)

    @property
    def now(self) -> float:
        """Its clock goes wrong."""
        return self.clock.now + self.skew

    def handle(self, event: Any, *brought: Blob | None) -> None:
        """An event, and the blobs that it brings, which are on disk before."""
        if not self.up:
            return
        self.world.trace(self.name, "<-", event)
        self.disk.keep("", brought)
        self.world.checks.envoy_before(self, event)
        effects = self.machine.handle(event, self.now)
        for effect in effects:
            if self.world.strikes(self.world.plan.faults.envoy):
                self.crash()
                return
            self.world.trace(self.name, "  ->", effect)
            self._do(effect)
        needed = self.machine.needed()
        self.disk.discard("", [blob.sha256 for blob in brought if blob is not None and blob.sha256 not in needed])
        self.world.checks.envoy_after(self)
        wake = self.machine.wake
        if wake != float("inf") and wake != self._tick:
            self._tick = wake
            self.later(max(wake - self.now, 0.001), self._ticks, wake)

    def _ticks(self, wake: float) -> None:
        if wake == self._tick:
            self.handle(Passes())

    def _do(self, effect: Any) -> None:
        self.world.checks.envoy_does(effect, self)
        match effect:
            case Record():
                self.disk.record(effect.fact)
            case Discard():
                self.disk.discard("", effect.blobs)
            case Forget():
                self._forget(effect.run)
            case Say():
                self._say(effect.message)
            case Deliver():
                self._deliver(effect.result)
            case Fetch():
                self._fetch(effect)
            case Consider():
                self._consider(effect.offer)
            case Prepare():
                unfit = self.world.strikes(self.world.plan.faults.unfit)
                event = Prepared(effect.run, "a package is missing" if unfit else "")
                self._later_for(effect.run, self._while(0.1, 3.0, 60.0), self.handle, event)
            case Work():
                self._work(effect.assign, effect.state)
            case Abort():
                if self.world.rng.random() < 0.5:  # or it is too late
                    self.working.pop((effect.run, effect.ask, effect.client), None)
            case _:
                raise TypeError(f"no effect of an Envoy: {effect!r}")

    # --- its session

    def _dial(self) -> None:
        world = self.world
        session = world.network.dial(
            self.name,
            lambda message: world.centre.hears(session, message),
            lambda message: self._hears(session, message),
        )
        self.session = session
        hello = Hello((1,), "1", self.now, "{}")
        if self.name not in world.network.apart:
            self.later(world.rng.uniform(0.01, 0.5), world.centre.greeted, session, hello)
        self.later(10.0, self._welcome_missing, session)

    def _welcome_missing(self, session: Session) -> None:
        if self.session is session and not self.machine.up:
            session.cut()

    def _hears(self, session: Session, message: Any) -> None:
        """A frame, or None where the session is over."""
        if not self.up:
            return
        if message is not None:
            if session is self.session or not isinstance(message, Welcome):
                self.handle(Hears(message))  # one of an older session, too, changes nothing
        elif session is self.session:
            self.session = None
            self.handle(Cut())
            self.later(self.world.rng.uniform(0.5, 5.0), self._dial)

    def _say(self, message: Any) -> None:
        if self.session is not None and self.session.there:
            self.session.send("director", message)

    def _deliver(self, result: Result) -> None:
        session = self.session

        def then(answer: str | None) -> None:
            if answer is not None and self.session is session:
                self._say(result)

        self._calls(result.run, lambda: self.world.centre.uploaded(result), then)

    def _calls(self, run: str, act: Any, then: Any) -> None:
        back = self._for(run, then)
        life = self.life
        self.world.network.call(self.name, act, lambda answer: back(answer) if self.up and self.life == life else None)

    def _for(self, run: str, act: Any) -> Any:
        """Something that is done for a run, unless that is forgotten before."""
        times = self.forgotten.get(run, 0)
        return lambda *arguments: act(*arguments) if self.forgotten.get(run, 0) == times else None

    def _later_for(self, run: str, delay: float, act: Any, *arguments: Any) -> None:
        self.later(delay, self._for(run, act), *arguments)

    def _while(self, least: float, most: float, slow: float) -> float:
        """How long something takes."""
        rng = self.world.rng
        return rng.uniform(most, slow) if self.world.strikes(self.world.plan.faults.slow) else rng.uniform(least, most)

    def _forget(self, run: str) -> None:
        self.disk.forget(run)
        self.world.checks.envoy_forgot(self, run)
        self.forgotten[run] = self.forgotten.get(run, 0) + 1
        self.working = {key: each for key, each in self.working.items() if key[0] != run}

    def _fetch(self, fetch: Fetch) -> None:
        session = self.session

        def then(answer: str | None) -> None:
            if answer is not None:
                self.handle(Fetched(fetch.run, fetch.ask, fetch.client), *fetch.blobs)
            elif self.session is session:
                self._later_for(fetch.run, 3.0, again)

        def again() -> None:
            if self.session is session and session is not None and self._wants(fetch):
                self._fetch(fetch)

        self._calls(fetch.run, lambda: self.world.centre.downloaded(fetch.blobs), then)

    def _wants(self, fetch: Fetch) -> bool:
        task = self.machine.tasks.get((fetch.run, fetch.client))
        return task is not None and task.assign.ask == fetch.ask and task.phase == "fetching"

    # --- its owner

    def _consider(self, offer: Offer) -> None:
        def then(answer: str | None) -> None:
            job = self.machine.jobs.get(offer.run)
            if job is None or job.phase is not JobPhase.CONSIDERING:
                return
            if answer is None:
                self._later_for(offer.run, 3.0, self._consider, offer)
            else:
                self._later_for(offer.run, self._while(0.0, 0.1, 40.0), self._decide, offer.run)

        self._calls(offer.run, lambda: self.world.centre.downloaded((offer.manifest,)), then)

    def _decide(self, run: str) -> None:
        faults = self.world.plan.faults
        if run in self.decided and self.world.strikes(faults.refuse):  # asked again after a crash, it thinks otherwise
            self.decided[run] = Consent.REFUSED
        if run not in self.decided and self.world.strikes(faults.person):
            self.handle(Decided(run, Consent.WAITING, "a person has to look at it"))
            self.later(self.world.rng.uniform(1.0, 100.0), self._person_decides, run)
        else:
            self._person_decides(run)

    def _person_decides(self, run: str) -> None:
        if run not in self.decided:
            refuses = self.world.strikes(self.world.plan.faults.refuse)
            self.decided[run] = Consent.REFUSED if refuses else Consent.READY
            if self.world.strikes(self.world.plan.faults.person):  # it is said twice
                self.later(self.world.rng.uniform(0.1, 20.0), self._person_decides, run)
        self.handle(Decided(run, self.decided[run], "not with our data" if self.decided[run] == "refused" else ""))

    # --- its Collaborators

    def _work(self, assign: Assign, state: Blob | None) -> None:
        self.world.checks.reads(self, assign.broadcast, assign.inputs, state)
        self._count += 1
        rng, faults, this = self.world.rng, self.world.plan.faults, self._count
        self.working[assign.run, assign.ask, assign.client] = this
        if self.world.strikes(faults.collaborator):
            self.later(
                rng.choice((1.0, 10.0, 30.0)) * rng.uniform(0.1, 1.5), self._dies, assign, this, "it was killed", False
            )
        elif self.world.strikes(faults.endless):
            self.later(LONGEST, self._dies, assign, this, "it took too long", True)
        else:
            slow = self.world.strikes(faults.slow)
            self.later(rng.uniform(20, 50) if slow else rng.uniform(0.5, 5.0), self._works, assign, state, this)

    def _ends(self, assign: Assign, this: int) -> bool:
        """Whether a work comes to its end, and was not stopped."""
        key = assign.run, assign.ask, assign.client
        if self.working.get(key) != this:
            return False
        del self.working[key]
        return True

    def _dies(self, assign: Assign, this: int, why: str, final: bool) -> None:
        if self._ends(assign, this):
            self.handle(Died(assign.run, assign.ask, assign.client, why, final))

    def _works(self, assign: Assign, state: Blob | None, this: int) -> None:
        if not self._ends(assign, this):
            return
        world = self.world
        hard = world.experiment(assign.run).hard
        key = assign.run, assign.round, assign.work, assign.occurrence
        luck = toy.number("luck", assign.client, *key) % 10 if hard else 9
        visit = assign.run, assign.ask, assign.client
        if luck == 0 and self.failed.get(visit, 0) <= toy.number("again", assign.client, *key) % 3:
            self.failed[visit] = self.failed.get(visit, 0) + 1
            self.handle(Worked(Answered(*visit, failure=RAISED)))
            return
        _, _, x, c = world.library.content(assign.broadcast)
        variate = world.library.content(state)[-1] if state is not None else 0
        update, following = toy.computed(toy.State(x, c), assign.client, key, variate, assign.work)
        quality = "bad" if luck == 1 else "good"
        blob = world.library.named("update", assign.run, assign.ask, assign.client, update.dx, update.dc, quality)
        kept = world.library.named("variate", assign.run, assign.client, following) if assign.work == "train" else None
        answered = Answered(assign.run, assign.ask, assign.client, blob, 1.0, "{}", "", kept)
        self.handle(Worked(answered), blob, kept)
