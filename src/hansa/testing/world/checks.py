"""What must hold in every schedule. It sees everything that is written down anywhere, and everything that is sent.

This file must not change anything.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hansa.core.ask import Status
from hansa.protocol.effects import Deliver, Discard, Send, TellChild, Work
from hansa.protocol.envoy import Envoy, JobPhase, Kept
from hansa.protocol.events import Event
from hansa.protocol.facts import Accepted, Answered, Asked, Came, Closed, Ended, Parted, Told
from hansa.protocol.messages import Assign, Blob, Settled
from hansa.protocol.run import Member, Run, apply, begun, restored
from hansa.testing.world import times, toy
from hansa.testing.world.aggregator import told_of
from hansa.testing.world.owner import RAISED
from hansa.testing.world.pairs import Pair, envoy_pairs

if TYPE_CHECKING:
    from hansa.testing.world.centre import Centre
    from hansa.testing.world.owner import Owner
    from hansa.testing.world.world import World

Visit = tuple[str, int, str]
"""Run, ask, client."""


class Violated(AssertionError):
    """A promise is broken."""


class Checks:
    """All of them, and what they remember of the world's past."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.accepted: dict[str, Accepted] = {}
        self.asked: dict[tuple[str, int], Asked] = {}
        self.came: dict[Visit, Came] = {}
        self.closed: dict[tuple[str, int], Closed] = {}
        self.told: dict[tuple[str, int], Told] = {}
        self.last: dict[str, int] = {}
        self.states: dict[str, toy.State] = {}
        self.ended: dict[str, Ended] = {}
        self.parted: set[str] = set()
        self.fates: dict[Visit, Status] = {}
        self.variates: dict[tuple[str, str], tuple[int, Blob | None]] = {}
        self.answered: dict[Visit, Answered] = {}
        self.keys: set[tuple[Any, ...]] = set()
        self.settled: dict[Visit, Status] = {}
        self.pairs: set[Pair] = set()
        self.begun = 0.0
        self._stepped: set[str] = set()
        self._runs: dict[str, Run] = {}
        self._written: dict[str, Run] = {}
        self._kept: dict[str, dict[tuple[str, str], Kept]] = {}

    def require(self, holds: bool, *what: object) -> None:
        """The promise is broken unless it holds."""
        if not holds:
            raise Violated(" ".join(map(str, what)))

    # --- what the Director writes

    def written(self, fact: Any) -> None:
        """A fact of the Director's is durable."""
        run = fact.run
        self._written[run] = begun(fact) if isinstance(fact, Accepted) else apply(self._written[run], fact)
        self.require(run not in self.ended or type(fact).__name__ == "Shared", "a fact after the end of a run:", fact)
        match fact:
            case Accepted():
                keys = [each.key for each in self.accepted.values()]
                self.require(fact.key not in keys, "submitted once, accepted twice:", fact)
                self.accepted[run] = fact
            case Asked():
                self._asked(fact)
            case Came():
                self._came(fact)
            case Closed():
                self.require((run, fact.ask) not in self.closed, "closed twice:", fact)
                self.closed[run, fact.ask] = fact
                self._closed(fact)
            case Told():
                self._told(fact)
            case Parted():
                self.parted.add(run)
            case Ended():
                self.ended[run] = fact
                self._ended(fact)

    def _asked(self, fact: Asked) -> None:
        run, last = fact.run, self.last.get(fact.run, 0)
        self.require(fact.ask == last + 1, "asks are not counted:", fact)
        self.require(last == 0 or (run, last) in self.told, "a new ask before the last was told:", fact)
        self.asked[run, fact.ask], self.last[run] = fact, fact.ask
        for part in fact.parts:
            open_ = [key for key in self._open(run) if key[2] == part.client and key[1] != fact.ask]
            self.require(not open_, "asked again while in flight:", part, open_)
            key = run, fact.round, part.client, fact.work, part.occurrence
            self.require(key not in self.keys, "the same key twice:", key)
            self.keys.add(key)

    def _open(self, run: str) -> list[Visit]:
        asked = [(run, fact.ask, part.client) for (r, _), fact in self.asked.items() if r == run for part in fact.parts]
        return [key for key in asked if key not in self.fates]

    def _came(self, fact: Came) -> None:
        key = fact.run, fact.ask, fact.client
        self.require(key not in self.came, "counted twice:", fact)
        self.require(key not in self.fates, "it came after its fate was known:", fact)
        parts = self.asked[fact.run, fact.ask].parts
        self.require(any(part.client == fact.client for part in parts), "nobody asked for it:", fact)
        self.require(self.world.centre.disk.has(fact.update), "its update is not on disk:", fact)
        answered = self.answered.get(key)
        if answered is not None and not fact.failure:
            self.require(answered.update == fact.update, "not what the Envoy wrote down:", fact, answered)
        self.came[key] = fact

    def _closed(self, fact: Closed) -> None:
        wrong = times.wrong(fact, self.asked, self.came, self.world.clock.now, self.begun)
        self.require(not wrong, wrong, fact)

    def _told(self, fact: Told) -> None:
        run, closed = fact.run, self.closed.get((fact.run, fact.ask))
        self.require(closed is not None and closed.fates == fact.fates, "told what was not closed:", fact, closed)
        self.require((run, fact.ask) not in self.told, "told twice:", fact)
        asked, state = self.asked[run, fact.ask], self.states.get(run, toy.State())
        updates = []
        for fate in fact.fates:
            key = run, fate.ask, fate.client
            came = self.came.get(key)
            self.require(key not in self.fates, "two fates:", fate)
            self.fates[key] = fate.status
            if fate.status is Status.UPDATED:
                if came is None or came.update is None:
                    raise Violated(f"an update counts that never came: {fate}")
                content = self.world.library.content(came.update)
                self.require(content[1:4] == key, "another's update counts:", fate, content)
                updates.append(toy.Update(content[-3], content[-2]))
                answered = self.answered[key]
                if answered.state is not None:
                    self.variates[run, fate.client] = fate.ask, answered.state
            elif fate.status is Status.DROPPED:
                self.require(came is None or came.order > 0, "dropped, although it came:", fate)
        plan = self.world.experiment(run)
        state = toy.told(toy.Program(plan.rounds, plan.works), state, asked.work, updates)
        expected = told_of(self.world.library, run, fact.ask, fact.fates, state)[0].told
        self.require(expected.document == fact.document, "not the state that follows:", fact)
        for blob in (fact.document, *fact.trees):
            self.require(self.world.centre.disk.has(blob), "the new state is not on disk:", fact)
        variates = {client: self._variate(run, client) for client in self.world.plan.everyone}
        self.require(toy.balanced(state, variates), "the clients' states do not go with the server's:", fact)
        self.told[run, fact.ask], self.states[run] = fact, state

    def _variate(self, run: str, client: str) -> int:
        _, blob = self.variates.get((run, client), (0, None))
        return int(self.world.library.content(blob)[-1]) if blob is not None else 0

    def _ended(self, fact: Ended) -> None:
        plan = self.world.experiment(fact.run)
        if fact.phase == "finished":
            state = self.states[fact.run]
            self.require(state.done == plan.rounds, "finished too soon:", fact)
            if plan.kind == "all" and fact.run not in self.parted:
                program = toy.Program(plan.rounds, plan.works)
                undisturbed = toy.undisturbed(program, self.world.plan.everyone, plan.run)
                self.require(state == undisturbed, "not the undisturbed model:", state, undisturbed)

    # --- what the Director does

    def steps(self, run: Run, event: Event) -> None:
        """A run is given an event."""
        self.pairs.add(("run", run.phase.value, type(event).__name__))
        self._stepped.add(run.id)

    def before(self, centre: Centre) -> None:
        """The Director is given an event."""
        self._stepped, self._runs = set(), dict(centre.machine.runs)
        self._written = dict(centre.machine.runs)

    def after(self, centre: Centre, event: Any) -> None:
        """It has done what follows."""
        for run in centre.machine.runs.values():
            before = self._runs.get(run.id)
            if before is not None and run.id not in self._stepped:
                self.require(before is run, "a run changed that was not concerned:", run.id, event)
            if before is not None and before.phase.over:
                self.require(run.phase is before.phase, "a terminal phase changed:", run.id, before.phase, run.phase)
            ended = self.ended.get(run.id)
            self.require((ended is not None) == run.phase.over, "the end is not on disk, or not seen:", run.id)
            idle = run.wanting is not None and not run.phase.over and len(run.population()["ids"]) > run.wanting
            self.require(not idle, run.id, "waits for somebody to ask, and somebody is there")
            self._disk(centre, run)
        self.require(centre.machine.wake > self.world.clock.now, "it wants to be woken in the past:", event)

    def in_time(self, centre: Centre) -> None:
        """Something happened somewhere: no ask that has enough is open when its time is over."""
        for run in centre.machine.runs.values() if centre.up else ():
            overdue = times.overdue(run, self.world.clock.now, self.begun)
            self.require(not overdue, run.id, "is overdue, and not closed:", run.asked)

    def _disk(self, centre: Centre, run: Run) -> None:
        """What is needed is there, and not more than (cohort + 4) models.

        The four: the initial model, today's, the one that is broadcast, and the next that a child brings along. The cohort's
        share: for everyone in flight an update; and where asks close on the first, what the slow of earlier asks were sent,
        which they still work from.
        """
        for name in run.needed():
            if name not in centre.disk.blobs:
                raise Violated(f"{run.id} needs a blob that is gone: {self.world.library.content(name)}")
        held = [name for name, runs in centre.disk.blobs.items() if run.id in runs]
        models = [name for name in held if self.world.library.content(name)[0] not in ("manifest", "state", "input")]
        earlier = {visit.asked.broadcast for visit in run.visits.values() if visit.came is None}
        if run.asked is not None:
            earlier.discard(run.asked.broadcast)
        share = len(run.visits) + len(earlier)
        bound = share + 4
        self.require(len(models) <= bound, run.id, "has", len(models), "models on disk, and may have", bound)

    def director_does(self, effect: Any, centre: Centre) -> None:
        """An effect is about to be done."""
        match effect:
            case Send(envoy, Assign() as assign):
                asked = self.asked.get((assign.run, assign.ask))
                self.require(asked is not None, "assigned before it is on disk that it is asked:", assign)
                homes = {client: name for name, clients in self.world.plan.clients.items() for client in clients}
                self.require(homes[assign.client] == envoy, "sent to another:", assign)
                for settled in assign.previous:
                    self._truthful(settled)
            case Send(_, Settled() as settled):
                self._truthful(settled)
            case TellChild(run, {"close": close}):
                self.require(
                    (run, close["ask"]) in self.closed, "the child is told of a closing that is not on disk:", close
                )
            case TellChild(run, {"kept": _}):
                self.require((run, self.last[run]) in self.told, "the child is told that it was kept:", effect)
            case Discard(run, blobs):
                known = centre.machine.runs.get(run)
                self.require(known is None or not blobs & known.needed(), "discarded, and needed:", effect)

    def _truthful(self, settled: Settled) -> None:
        """Only what is on disk is said of an answer's fate. One that its Envoy settled long ago may be said to be lost."""
        key = settled.run, settled.ask, settled.client
        if settled.status is Status.UPDATED:
            self.require(self.fates.get(key) is Status.UPDATED, "settled otherwise than it was told:", settled)
        elif self.fates.get(key) is Status.UPDATED:
            known = self.settled.get(key) is Status.UPDATED
            self.require(known, "said to be lost, although it counts and its Envoy does not know:", settled)
        if settled.run not in self.ended and key not in self.fates:
            asked = self.asked.get(key[:2])
            self.require(asked is None, "settled before its fate is on disk:", settled)

    def child_starts(self, run: str, told: Told | None, _centre: Centre) -> None:
        """An Aggregator starts from a state."""
        latest = max((ask for r, ask in self.told if r == run), default=0)
        self.require((told.ask if told else 0) == latest, "an Aggregator starts from an old state:", run, told)
        for blob in () if told is None else (told.document, *told.trees):
            self.require(self.world.centre.disk.has(blob), "an Aggregator starts, and its state is gone:", run, told)

    def child_reads(self, run: str, update: str) -> None:
        """An Aggregator reads an update."""
        self.require(update in self.world.centre.disk.blobs, "the Aggregator lacks an update:", run, update)

    def restarted(self, centre: Centre) -> None:
        """The Director was started, perhaps after a crash: it is where what was written had brought it."""
        before = {run: durable(its) for run, its in self._written.items()}
        after = {run: durable(its) for run, its in centre.machine.runs.items()}
        self.require(before == after, "a restart gives other runs:", before, after)
        self.begun = self.world.clock.now

    def forgotten(self, run: str) -> None:
        """A run is taken off the disk."""
        self.require(run in self.ended, "forgotten before its end:", run)
        self._written.pop(run, None)

    # --- what an Envoy does

    def envoy_wrote(self, envoy: str, fact: Any) -> None:
        """A fact of an Envoy's is durable."""
        key, kept, home = (fact.run, fact.ask, fact.client), self._kept[envoy], (fact.run, fact.client)
        if isinstance(fact, Answered):
            self.require(key not in self.answered, envoy, "answers twice:", fact)
            if fact.failure.startswith(RAISED):
                times, most = self.world.owners[envoy].failed[key], self.asked[key[:2]].retries + 1
                told = times == 1 or fact.failure.endswith(f"after {times} attempts")
                self.require(times == most and told, envoy, "gives up after another number of attempts:", fact, most)
            self.answered[key] = fact
            kept[home] = kept.get(home, Kept(None)).propose(str(fact.ask), fact)
        else:
            kept[home] = kept[home].settle(str(fact.ask), fact.status)
            self.settled[key] = fact.status
            updated = self.fates.get(key) is Status.UPDATED
            self.require((fact.status is Status.UPDATED) == updated, envoy, "settles otherwise than was told:", fact)

    def envoy_before(self, owner: Owner, event: Any) -> None:
        """An Envoy is given an event."""
        self._kept[owner.name] = dict(owner.machine.kept)
        self.pairs.update(envoy_pairs(owner.machine, event))

    def envoy_forgot(self, owner: Owner, run: str) -> None:
        """A run is taken off an Envoy's disk."""
        kept = self._kept[owner.name]
        self._kept[owner.name] = {key: its for key, its in kept.items() if key[0] != run}

    def envoy_restarted(self, owner: Owner) -> None:
        """An Envoy was started, perhaps after a crash: it keeps what it had written down."""
        before, after = self._kept.get(owner.name, {}), owner.machine.kept
        self.require(before == after, owner.name, "keeps something else after a restart:", before, after)

    def envoy_after(self, owner: Owner) -> None:
        """It has done what follows."""
        for name, run in owner.machine.needed().items():
            content = self.world.library.content(name)
            on_its_way = content[0] in ("broadcast", "input")
            self.require(on_its_way or name in owner.disk.blobs, owner.name, "lost what it needs:", run, content)

    def envoy_does(self, effect: Any, owner: Owner) -> None:
        """An effect is about to be done."""
        match effect:
            case Work(assign, state):
                key, job = (assign.run, assign.ask, assign.client), owner.machine.jobs.get(assign.run)
                ready = job is not None and job.phase is JobPhase.READY
                self.require(ready, owner.name, "works where it cannot:", assign, job)
                self.require(key not in self.answered, owner.name, "computes again what it answered:", assign)
                again = owner.failed.get(key, 0) <= assign.retries
                self.require(again, owner.name, "tries again too often:", assign)
                retries = self.asked[key[:2]].retries
                self.require(assign.retries == retries, owner.name, "may try otherwise than was asked:", assign)
                if assign.run not in self.ended:
                    _, expected = self.variates.get((assign.run, assign.client), (0, None))
                    self.require(state == expected, owner.name, "works from another state than counts:", assign, state)
            case Deliver(result):
                key = result.run, result.ask, result.client
                self.require(key in self.answered, owner.name, "answers before that is on disk:", result)

    def reads(self, owner: Owner, *blobs: Blob | None) -> None:
        """A Collaborator reads files."""
        for blob in blobs:
            self.require(owner.disk.has(blob), owner.name, "lacks a file that its Collaborator reads:", blob)

    # --- at the end

    def at_the_end(self) -> None:
        """Everything is over, and has been for a while."""
        self.replayed(self.world.centre)
        for run in self.world.centre.machine.runs.values():
            names = {name for name, runs in self.world.centre.disk.blobs.items() if run.id in runs}
            self.require(names == run.needed(), "what a run leaves on disk:", run.id, len(names), len(run.needed()))
        for owner in self.world.owners.values():
            if owner.up:
                self.envoy_replayed(owner)
            if owner.up and owner.name not in self.world.revoked:
                self.require(not owner.disk.facts(), owner.name, "still keeps", owner.disk.facts())
                self.require(not owner.disk.blobs, owner.name, "still has", len(owner.disk.blobs), "blobs")
                self.require(not owner.machine.tasks, owner.name, "still has tasks", owner.machine.tasks)
        for key in self.came:
            if self.ended[key[0]].phase == "finished" and self.world.experiment(key[0]).kind != "first":
                self.require(key in self.fates, "accepted, and lost:", key)

    def replayed(self, centre: Centre) -> None:
        """The facts on disk give the state in memory, in all that is durable."""
        facts: dict[str, list[Any]] = {}
        for fact in centre.disk.facts():
            facts.setdefault(fact.run, []).append(fact)
        self.require(list(facts) == list(centre.machine.runs), "other runs are on disk:", list(facts))
        for run, its in facts.items():
            live, again = durable(centre.machine.runs[run]), durable(restored(its))
            self.require(live == again, "replay gives another run:", live, again)

    def envoy_replayed(self, owner: Owner) -> None:
        """Likewise, of an Envoy."""
        live, again = owner.machine, Envoy(owner.disk.facts())
        same = (again.kept, again.settled) == (live.kept, live.settled)
        self.require(same, owner.name, "replay gives another:", live.kept, live.settled, again.kept, again.settled)


def durable(run: Run) -> Run:
    """A run without what is known of the moment only."""
    members = {
        name: Member(clients=member.clients, joined=member.joined)
        for name, member in sorted(run.members.items())
        if member.joined or member.clients
    }
    visits = {key: replace(visit, judged=False, refusal="") for key, visit in run.visits.items()}
    return replace(run, members=members, visits=visits, crashes=0, why="", wanting=None, restarted=0.0)
