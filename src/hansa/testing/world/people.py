"""Who acts from outside: users who submit, stop and forget runs, the Director's owner, and fate, which cuts Envoys off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hansa.protocol.director import Concerns, Drains, Expels, Removes
from hansa.protocol.events import Cancel, Release, Share, Withhold
from hansa.protocol.facts import Accepted
from hansa.protocol.run import Phase
from hansa.testing.world.plan import CALM, START, RunPlan

if TYPE_CHECKING:
    from hansa.testing.world.world import World


class People:
    """All of them."""

    def __init__(self, world: World) -> None:
        self.world, self.clock, self.rng = world, world.clock, world.rng
        for plan in world.plan.runs:
            self.clock.after(plan.at - START, self._submit, plan)
            if plan.cancelled is not None and not plan.abruptly:
                self.clock.after(plan.cancelled - START, self.cancel, plan.run)
        faults = world.plan.faults
        for name in world.owners:
            if self.rng.random() < faults.leave:
                self.clock.after(self.rng.uniform(0, CALM - START), self._leave, name)
            if self.rng.random() < faults.revoke:
                self.clock.after(self.rng.uniform(0, CALM - START), self.revoke, name)
        if self.rng.random() < 0.05:
            self.clock.after(self.rng.uniform(0, 60), self._drain)
        self.clock.after(5.0, self._fate)

    def _submit(self, plan: RunPlan) -> None:
        """Again and again, with the same key, until there is an answer."""
        world = self.world
        manifest, initial = world.library.named("manifest", plan.run), world.library.named("initial")
        accepted = Accepted(
            plan.run if plan.run not in world.submitted else f"{plan.run}-again",
            f"key of {plan.run}",
            "user",
            plan.run,
            manifest,
            b"signature",
            b"certificate",
            initial,
            (initial,),
            tuple(world.owners) if plan.named else (),
            {},
            plan.at_least,
            plan.held,
            self.clock.now,
        )
        answer = world.centre.submitted(accepted)
        if answer is None or world.strikes(world.plan.faults.drop * 3):
            self.clock.after(self.rng.uniform(1.0, 5.0), self._submit, plan)
            return
        world.submitted.add(answer)
        self.clock.after(self.rng.uniform(0.0, 60.0), self._attend, plan)

    def _attend(self, plan: RunPlan) -> None:
        """The Director's owner, and whoever is interested in a run, until it is over."""
        run, centre = self.world.centre.known(plan.run), self.world.centre
        if plan.run in self.world.removed:
            return
        if self.rng.random() < 0.2:
            centre.handle(Concerns(plan.run, Share("another")))
        if run is not None and run.phase is Phase.HELD and self.rng.random() < 0.7:
            decision = Release("owner") if plan.released else Withhold("no")
            centre.handle(Concerns(plan.run, decision))
        elif run is not None and run.phase is not Phase.HELD and self.rng.random() < 0.1:  # too late, or nobody asked
            centre.handle(Concerns(plan.run, self.rng.choice((Release("owner"), Withhold("no")))))
        if run is not None and run.phase.over and plan.removed:
            self.world.removed.add(plan.run)
            centre.handle(Removes(plan.run))
            return
        self.clock.after(self.rng.uniform(10.0, 40.0), self._attend, plan)

    def notices(self, run: str, last: bool) -> None:
        """An Aggregator is about to speak, perhaps for the last time; perhaps its owner stops the run just now."""
        plan = self.world.experiment(run)
        if not plan.abruptly or plan.cancelled is None or plan.cancelled > self.clock.now:
            return
        if self.rng.random() < (0.7 if last else 0.05):
            self.clock.after(self.rng.uniform(0.0, 0.1), self.cancel, run)

    def cancel(self, run: str) -> None:
        """A user stops a run."""
        if self.world.centre.up:
            self.world.centre.handle(Concerns(run, Cancel("user")))
            if self.rng.random() < 0.3:  # impatient
                self.clock.after(self.rng.uniform(0.1, 30.0), self.cancel, run)
        else:
            self.clock.after(3.0, self.cancel, run)

    def _leave(self, name: str) -> None:
        owner = self.world.owners[name]
        self.world.trace(name, "leaves for good")
        owner.gone = True
        if owner.up:
            owner.crash()

    def revoke(self, name: str) -> None:
        """An admin revokes a certificate."""
        if name not in self.world.revoked:
            self.world.revoked.add(name)
            self.world.trace(name, "is revoked")
            self.world.centre.handle(Expels(name))
            session = self.world.network.sessions.get(name)
            if session is not None:
                session.cut()

    def _drain(self) -> None:
        """The Director is to stop, and is started again."""
        centre = self.world.centre
        if centre.up:
            centre.handle(Drains())
            self.clock.after(10.0, lambda: centre.crash() if centre.up else None)

    def _fate(self) -> None:
        """Cuts Envoys off, for a while."""
        if self.clock.now > CALM:
            return
        for name in self.world.owners:
            if name not in self.world.network.apart and self.world.strikes(self.world.plan.faults.partition):
                self.world.network.isolate(name)
                self.clock.after(self.rng.uniform(1.0, 60.0), self.world.network.rejoin, name)
        self.clock.after(5.0, self._fate)
