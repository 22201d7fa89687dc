"""A worker's core: letters in, letters out. It computes visits and sums their updates; it has no socket and no process.

This file must not know how letters travel, or how many workers there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hansa.core import tree
from hansa.core.ask import Ask, Outcome, Status
from hansa.core.gate import as_update
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Settings, Update, Work, visit_key
from hansa.errors import HansaError, InputError
from hansa.experiment.reference import Mode, Threads
from hansa.simulation.intake import Answer, Intake
from hansa.simulation.processes.failures import Told, told
from hansa.simulation.processes.letters import Letter, Letters, Written
from hansa.simulation.processes.library import Lent, Library, NotLent
from hansa.simulation.processes.memory import give_back_heap
from hansa.simulation.processes.progress import Progress
from hansa.simulation.station import Station

REPLY = 1 << 20
"""Bytes of single updates after which they are sent, although more of their chunk are to come."""


@dataclass
class _Asked:
    """The ask that is being carried out.

    Attributes:
        intake: sums its updates; None where they are sent one by one.
        shared: the settings that all clients are told.
    """

    head: Mapping[str, Any]
    shared: Settings
    broadcast: Tree
    intake: Intake | None
    ask: Ask | None


@dataclass
class _Answers:
    """Answers that wait to be sent."""

    outcomes: list[Any] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    size: int = 0


class Worker:
    """See the top of this file.

    Args:
        works: the algorithm's.
        names: what the experiment's file defines.
        letters: writes its replies.
        station: carries works out.
        mode: of the run.
        progress: is told where it is.
    """

    def __init__(
        self,
        works: Mapping[str, Work],
        names: Mapping[str, Any],
        letters: Letters,
        station: Station,
        mode: Mode,
        progress: Progress,
    ) -> None:
        self._works, self._letters, self._station, self._mode = works, letters, station, mode
        self._progress, self._library = progress, Library(names)
        # A worker computes with one thread in either mode: there are as many workers as cores.
        self._threads = Threads("reference")
        self._asked: _Asked | None = None

    def replies(self, letter: Letter) -> Iterator[Written]:
        """What it answers to a letter, some while it computes."""
        self._library.give_back(letter.head.get("gone", ()))
        match letter.kind:
            case "base" | "expected" | "transforms":
                self._library.take(letter)
            case "ask":
                self._open(letter)
            case "visits":
                with self._threads.held():
                    yield from self._visits(letter)
            case "close":
                self._station.rest()
                if self._is_heavy:
                    give_back_heap()
                yield self._partial()
            case "rest":
                self._asked = None
                self._station.rest()
                give_back_heap()

    def refused(self, why: str) -> Written:
        """A reply: something cannot cross between processes."""
        return self._letters.written(Letter("refused", {"why": why}))

    @property
    def _is_heavy(self) -> bool:
        return self._asked is not None and self._asked.head["heavy"]

    def _open(self, letter: Letter) -> None:
        """A new ask; the one before it, and its broadcast, are forgotten."""
        self._asked = None
        self._station.rest()
        head, broadcast = letter.head, tree.read_only(letter.trees[0])
        intake = ask = None
        if head["summed"]:
            form = broadcast if head["form"] == "broadcast" else letter.trees[1]
            rule, settings = letter.value["rule"], letter.value["settings"]
            ask = Ask(head["work"], broadcast, (), rule, head["round"], head["version"], settings, form=form)
            intake = Intake(ask, many=self._mode == "fast")
        self._asked = _Asked(head, letter.value["settings"], broadcast, intake, ask)

    def _visits(self, letter: Letter) -> Iterator[Written]:
        assert self._asked is not None  # noqa: S101 - the parent asks before it sends visits
        asked, progress, entries = self._asked, self._progress, letter.head["visits"]
        progress.chunk(letter.head["chunk"])
        shards = [self._shard(entry, letter.trees) for entry in entries]
        answers, missed = _Answers(), False

        def contexts() -> Iterator[ClientContext]:
            for number, entry in enumerate(entries):
                progress.begin()
                yield self._context(asked, entry, shards[number], (letter.value or {}).get(str(number), {}))

        given = self._station.given(asked.head["work"], asked.broadcast, contexts())
        for entry, shard in zip(entries, shards, strict=True):
            try:
                answer = Answer(entry[0], next(given), entry[2], 0)
            except NotLent:
                missed = True
                break
            if shard.missed:  # a work that caught it has computed something else than it should
                missed = True
                break
            progress.end()
            self._take(asked, answer, answers)
            del answer  # nothing holds an update while the next is computed
            if answers.size > REPLY:
                yield from self._written(answers)
                answers = _Answers()
        del given
        if asked.intake is not None:
            self._settle(asked.intake.flush(), answers)
        over = {
            "over": True,
            "missed": missed,
            "looked": any(shard.looked for shard in shards),
            "chosen": dict(self._station.chosen),
        }
        yield from self._written(answers, over)

    def _shard(self, entry: Sequence[Any], trees: Sequence[Tree]) -> Lent:
        client, _, _, lent = entry
        described = Told(*lent) if isinstance(lent, list) else lent
        return Lent(described, lambda each: self._library.shard(client, each, trees))

    def _context(self, asked: _Asked, entry: Sequence[Any], shard: Lent, more: Mapping[str, Any]) -> ClientContext:
        client, occurrence, _, _ = entry
        head = asked.head
        return ClientContext(
            client,
            shard,
            head["round"],
            visit_key(head["seed"], client, head["round"], head["work"], occurrence),
            more.get("settings", asked.shared),
            tree.read_only(more.get("inputs", {})),
            tree.read_only(more.get("state", {})),
            head["device"],
        )

    def _take(self, asked: _Asked, answer: Answer, answers: _Answers) -> None:
        """One answer: summed with the others, or kept to be sent as it is."""
        if asked.intake is not None:
            self._settle(asked.intake.take(answer), answers)
            return
        number = len(answers.outcomes)
        try:
            if isinstance(answer.given, BaseException):
                raise answer.given
            update = as_update(answer.given)
        except (Exception, SystemExit) as problem:  # noqa: BLE001 - a client's code may raise anything; it is its outcome
            answers.outcomes.append(told(problem))
            return
        answers.outcomes.append(None)
        answers.values[str(number)] = [update.weight, dict(update.tree), update.metrics, _own(update.state)]
        answers.size += sum(leaf.nbytes for leaf in (*update.tree.values(), *(update.state or {}).values()))

    def _settle(self, settled: Sequence[tuple[Answer, Outcome]], answers: _Answers) -> None:
        """What became of some answers."""
        for answer, outcome in settled:
            number = len(answers.outcomes)
            state = answer.given.state if isinstance(answer.given, Update) else None
            if outcome.status is Status.UPDATED and state is not None:
                answers.values[str(number)] = _own(state)
            cause = None if outcome.cause is None else told(outcome.cause)
            metrics = outcome.metrics.to_json() if outcome.metrics else None
            answers.outcomes.append([str(outcome.status), outcome.why, outcome.weight, metrics, cause])

    def _written(self, answers: _Answers, more: Mapping[str, Any] | None = None) -> Iterator[Written]:
        """The reply; where an update cannot cross between processes, that is its client's failure."""
        head = {"over": False, **(more or {})}
        try:
            yield self._letters.written(
                Letter("answers", {**head, "outcomes": answers.outcomes}, answers.values or None)
            )
        except InputError as problem:
            if self._asked is None or self._asked.intake is not None:
                yield self.refused(problem.line)
                return
            outcomes, values = list(answers.outcomes), dict(answers.values)
            for number, value in answers.values.items():
                try:
                    self._letters.written(Letter("answers", value=value))
                except InputError as its_own:
                    outcomes[int(number)] = told(its_own)
                    del values[number]
            yield self._letters.written(Letter("answers", {**head, "outcomes": outcomes}, values or None))

    def _partial(self) -> Written:
        """The sum of what was computed since the ask, or since the last partial sum."""
        asked = self._asked
        assert asked is not None and asked.ask is not None and asked.intake is not None  # noqa: S101, PT018 - the parent knows
        gathered, asked.intake = asked.intake.gathered, Intake(asked.ask, many=self._mode == "fast")
        value = [gathered.accumulator, gathered.metrics]
        try:
            return self._letters.written(
                Letter(
                    "partial",
                    {"updates": gathered.updates, "received": gathered.received, "wasted": gathered.wasted},
                    value,
                )
            )
        except HansaError as problem:
            return self.refused(problem.line)


def _own(state: Mapping[str, Any] | None) -> Tree | None:
    """A private state as a plain dict."""
    return None if state is None else dict(state)
