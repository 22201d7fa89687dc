"""The Aggregator: the child process of a Director in which one run's algorithm lives. It holds no key, no journal, no network.

It is told where files lie, and says what it wants asked; whatever it wants kept it writes to a file of its own folder, which
the Director then takes over. It may be killed at any moment: started again from the last state that was kept, it asks the same.
"""

from __future__ import annotations

import errno
import json
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from hansa.core.ask import Ask, Input, Outcome, Reply, Status
from hansa.core.gate import refusal
from hansa.core.gather import Gathered
from hansa.core.history import History
from hansa.core.keeping import Best
from hansa.core.loop import Progress, Step, steps
from hansa.core.metrics import Metrics
from hansa.core.population import ClientId, Population
from hansa.core.tree import Tree, nbytes
from hansa.core.work import Update, settings_to_json
from hansa.errors import HansaError, ProtocolError, RunFailed
from hansa.experiment import load_experiment
from hansa.experiment.files import ExperimentFile
from hansa.experiment.reference import environment, threads
from hansa.experiment.snapshot import freeze, thaw
from hansa.protocol import codec
from hansa.runtime.children.channel import Channel
from hansa.runtime.patient import Patient
from hansa.runtime.points import passes
from hansa.transport.malloc import tune


def main(channel: Channel) -> None:
    """Run the algorithm to its end, or tell why that is not possible."""
    tune()
    start = channel.receive()
    if start is None:
        return
    try:
        with threads("reference"):
            loaded = load_experiment(Path(start["entry"]))
            passes("aggregator: experiment loaded")
            with loaded.importing():
                Aggregator(channel, loaded, start).run()
    except HansaError as problem:
        channel.send({"fails": {"why": str(problem)}})
    except _HungUpError:
        return
    except Exception:  # noqa: BLE001 - the scientist's own code may raise anything; its owner is told, and nobody else hurt
        channel.send({"fails": {"why": f"the experiment raised, in the Aggregator:\n{traceback.format_exc()}"}})


FULL = (errno.ENOSPC, errno.EDQUOT)
PATIENCE = 2.0
"""Seconds between two attempts to write to a full disk."""


class _HungUpError(Exception):
    """The Director has gone."""


@dataclass
class _Arrived:
    """An answer whose update lies in a file; `received` is how many bytes its arrays have, once they were read."""

    path: Path | None
    weight: float
    metrics: Metrics
    version: int
    received: int = 0

    def update(self, client: ClientId, now: int) -> Update:
        """The update; its arrays are views of the file."""
        tree = {} if self.path is None else codec.read(self.path)
        return Update(tree, self.weight, self.metrics, client=client, staleness=now - self.version)


class Aggregator:
    """One run; an executor whose clients are far away."""

    def __init__(self, channel: Channel, loaded: ExperimentFile, start: Mapping[str, Any]) -> None:
        self._channel, self._loaded, self._algorithm = channel, loaded, loaded.experiment.plan
        self._best: Best | None = None
        self._folder, self._numbers = Path(start["folder"]), count()
        self._kept: dict[int, tuple[Tree, str]] = {}
        self._closed: Mapping[str, Any] = {}
        self._progress = self._begin(start)
        self._rounds = self._progress.history.rounds

    def run(self) -> None:
        """All rounds."""
        try:
            for step in steps(Patient(self._algorithm, self._more), self, self._progress, time.monotonic):
                self._keep(step)
        except RunFailed as failure:
            self._channel.send({"fails": self._failed(failure)})
        else:
            self._channel.send({"finishes": {}})

    # --- the executor

    def population(self) -> Population:
        """Who may be asked, as the Director says."""
        return self._awaited(0)

    def _awaited(self, beyond: int) -> Population:
        """Who may be asked, once those are more, or nobody is to be expected any more."""
        self._channel.send({"wants": {"beyond": beyond}})
        told = self._await("population")
        return Population(tuple(told["ids"]), told["examples"], told["in_flight"])

    def _more(self, seen: Population) -> Population | None:
        """More than these, once they are there; None where nobody is to be expected any more."""
        found = self._awaited(len(seen))
        return found if len(found) > len(seen) else None

    def execute(self, ask: Ask) -> Reply:
        """Let the Director ask, judge what arrives, and make one of what it says counts."""
        parts = [[client, *self._addressed(ask, client)] for client in ask.cohort]
        asked = {"work": ask.work, "round": ask.round, "version": ask.version, "closing": asdict(ask.closing)}
        asked |= {"parts": parts}
        broadcast = self._file(ask.broadcast)
        passes("aggregator: asks not said")
        self._channel.send({"asks": {**asked, "broadcast": broadcast}})
        passes("aggregator: asks said")
        arrived: dict[tuple[int, ClientId], _Arrived] = {}
        while True:
            message = self._receive()
            if "arrived" in message:
                self._judge(ask, message["arrived"], arrived)
            elif "close" in message:
                self._closed = message["close"]
                passes("aggregator: close heard")
                return self._reply(ask, arrived)

    def _judge(self, ask: Ask, told: Mapping[str, Any], arrived: dict[tuple[int, ClientId], _Arrived]) -> None:
        number, client = int(told["ask"]), str(told["client"])
        try:
            metrics = Metrics.from_json(json.loads(told["metrics"]))
            answer = _Arrived(
                Path(told["update"]) if told["update"] else None, float(told["weight"]), metrics, told["version"]
            )
            arrived[number, client] = answer
            update = answer.update(client, ask.version)
            answer.received = nbytes(update.tree)
            why = refusal(update, ask.form, told["examples"])
            if why is None:
                ask.rule.check(ask.rule.zero(), update)  # what it would refuse whoever else there is
        except (HansaError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as problem:
            why = problem.what if isinstance(problem, HansaError) else f"its metrics are damaged: {problem}"
        passes("aggregator: judges not said")
        self._channel.send({"judges": {"ask": number, "client": client, "refusal": why or ""}})

    def _reply(self, ask: Ask, arrived: Mapping[tuple[int, ClientId], _Arrived]) -> Reply:
        gathered = Gathered(ask)
        for number, client, status, why in self._closed["fates"]:
            answer = arrived.get((number, client))
            if answer is not None and status == Status.UPDATED:
                update = answer.update(client, ask.version)
                outcome = Outcome(Status.UPDATED, "", answer.weight, answer.metrics, update.staleness)
                gathered.add(client, outcome, update)
            else:
                gathered.add(client, Outcome(Status(status), why), None)
                gathered.waste(0 if answer is None else answer.received)
        return gathered.reply()

    def _addressed(self, ask: Ask, client: ClientId) -> list[Any]:
        addressed = ask.inputs.get(client, Input())
        settings = settings_to_json({**ask.settings, **addressed.settings})
        return [json.dumps(settings, sort_keys=True), self._file(addressed.tree) if addressed.tree else None]

    # --- what is kept

    def _begin(self, start: Mapping[str, Any]) -> Progress:
        seed, versions = self._loaded.experiment.seed, environment("reference")
        history = History(seed=seed, environment=versions)
        if start["state"] is None:
            initial = codec.read(Path(start["initial"]["path"]))
            self._kept[id(initial)] = initial, start["initial"]["sha256"]
            return Progress.begin(self._algorithm, history.with_model(initial, 0))
        shas = start["state"]["trees"]
        trees = [codec.read(Path(path)) for path in start["state"]["paths"]]
        document = json.loads(Path(start["state"]["document"]).read_bytes())
        state = thaw(document, trees, self._loaded.names)
        again = freeze(state, self._loaded.names)
        self._kept = {id(tree): (tree, sha) for tree, sha in zip(again.trees, shas, strict=True)}
        fallback = history.with_model(state["fallback"], state["fallback_rounds"])
        self._best = state["best"]
        return Progress(state["state"], history.with_model(state["model"], state["rounds"]), fallback)

    def _keep(self, step: Step) -> None:
        """Have the state written down, so that the run goes on from here whatever happens."""
        progress, history = step.progress, step.history
        marks, self._best = self._loaded.experiment.keeping.marks(history, self._rounds, self._best)
        self._rounds = history.rounds
        state = {
            "best": self._best,
            "state": progress.state,
            "model": history.model,
            "rounds": history.rounds,
            "fallback": progress.fallback.model,
            "fallback_rounds": progress.fallback.rounds,
        }
        snapshot = freeze(state, self._loaded.names)
        trees = [self._file(tree) for tree in snapshot.trees]
        text = json.dumps(snapshot.document, separators=(",", ":"))
        document = self._written(lambda path: path.write_text(text))
        entry = history.entries[-1]
        told = {"ask": self._closed["ask"], "entry": json.dumps(entry.to_json()), "rounds": history.rounds}
        told |= {"document": str(document), "trees": trees}
        told["model"] = next(n for n, tree in enumerate(snapshot.trees) if tree is history.model)
        told["marks"] = sorted(marks)
        told["environment"] = json.dumps(dict(history.environment))
        outcomes = step.reply.outcomes
        told["fates"] = [
            [number, client, outcomes[client].status.value, outcomes[client].why]
            for number, client, _, _ in self._closed["fates"]
        ]
        passes("aggregator: told not said")
        self._channel.send({"told": told})
        passes("aggregator: told said")
        shas = self._await("kept")
        self._kept = {id(tree): (tree, sha) for tree, sha in zip(snapshot.trees, shas, strict=True)}

    def _failed(self, failure: RunFailed) -> dict[str, Any]:
        """What is told of a failure: why, the round's entry, and which model was the last good one."""
        told: dict[str, Any] = {"why": str(failure)}
        history: History | None = failure.history
        if history is not None:
            told["entry"] = json.dumps(history.entries[-1].to_json()) if history.entries else ""
            told["model"] = self._kept[id(history.model)][1]
        return told

    def _file(self, tree: Tree) -> dict[str, str]:
        """Where a tree lies: under its name, if the Director keeps it, or else in a new file."""
        known = self._kept.get(id(tree))
        if known is not None and known[0] is tree:
            return {"sha256": known[1]}
        return {"path": str(self._written(lambda path: codec.write(tree, path)))}

    def _written(self, write: Callable[[Path], object]) -> Path:
        """A new file; where the disk is full the run waits until it is not."""
        while True:
            path = self._folder / f"{next(self._numbers)}.out"
            try:
                write(path)
            except OSError as problem:
                path.unlink(missing_ok=True)
                if problem.errno not in FULL:
                    raise
                self._channel.send({"full": {"why": f"the Aggregator cannot write: {problem.strerror}"}})
                time.sleep(PATIENCE)
            else:
                return path

    # --- the channel

    def _await(self, kind: str) -> Any:
        """The next message, which must be of this kind; what arrives late for an ask that is over is of no use any more."""
        while True:
            message = self._receive()
            if kind in message:
                return message[kind]
            if "arrived" not in message and "close" not in message:
                raise ProtocolError(f"the Director said {', '.join(message)}, and {kind} was expected")

    def _receive(self) -> dict[str, Any]:
        message = self._channel.receive()
        if message is None:
            raise _HungUpError
        return message
