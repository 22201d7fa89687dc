"""What happened in a run: one entry for every ask, and how to read them.

The History of a simulated and of a real run have the same form. This file does no input or output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hansa import plots
from hansa.core.ask import Ask, Outcome, Reply, Status
from hansa.core.goal import Goal
from hansa.core.metrics import Metrics
from hansa.core.population import ClientId
from hansa.core.tree import Tree
from hansa.core.work import Settings, settings_from_json, settings_to_json
from hansa.errors import ConfigError, UnknownName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODEL = "model"
"""The setting of an evaluation that names the evaluated model."""

FEDERATED = "federated"
"""What an evaluation's setting "model" says when the model is the federation's own."""

SHOWN = 20
"""Evaluations that a notebook's table lists: the first and the last of more."""


@dataclass(frozen=True)
class Entry:
    """One ask and what came of it.

    Attributes:
        round: the round that the ask belonged to.
        work: the work that was asked.
        version: how many model updates its broadcast had seen.
        settings: the ask's settings; see `model`.
        metrics: the merged metrics of the clients that count.
        outcomes: what became of each client.
        seconds: how long it took, by the executor's clock; in a simulation with a virtual clock, by that.
        left_out: who was not asked although it could have been, and why.
        down: bytes of the arrays that were sent to clients.
        up: bytes of the arrays that came back, whether they count or not.
    """

    round: int
    work: str
    version: int
    settings: Settings
    metrics: Metrics
    outcomes: Mapping[ClientId, Outcome]
    seconds: float = 0.0
    left_out: Mapping[ClientId, str] = field(default_factory=dict)
    down: int = 0
    up: int = 0

    @classmethod
    def of(cls, ask: Ask, reply: Reply, seconds: float = 0.0) -> Entry:
        """The entry of an ask and its reply."""
        return cls(
            ask.round,
            ask.work,
            ask.version,
            dict(ask.settings),
            reply.metrics,
            dict(reply.outcomes),
            seconds,
            dict(ask.left_out),
            reply.down,
            reply.up,
        )

    @property
    def model(self) -> str | None:
        """The name of the model that was evaluated; None for any other ask."""
        return str(self.settings[MODEL]) if MODEL in self.settings else None

    def to_json(self) -> dict[str, Any]:
        """A JSON object; settings that are bytes are written in hexadecimal."""
        return {
            "round": self.round,
            "work": self.work,
            "version": self.version,
            "settings": settings_to_json(self.settings),
            "metrics": self.metrics.to_json(),
            "outcomes": {client: _outcome_to_json(outcome) for client, outcome in self.outcomes.items()},
            "seconds": self.seconds,
            "left_out": dict(self.left_out),
            "down": self.down,
            "up": self.up,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Entry:
        """The entry that `to_json` described."""
        return cls(
            data["round"],
            data["work"],
            data["version"],
            settings_from_json(data["settings"]),
            Metrics.from_json(data["metrics"]),
            {client: _outcome_from_json(outcome) for client, outcome in data["outcomes"].items()},
            data["seconds"],
            data["left_out"],
            data["down"],
            data["up"],
        )


@dataclass(frozen=True)
class History:
    """A run so far.

    Attributes:
        entries: one for every ask, in order.
        model: the global model after the last completed round; NumPy arrays.
        rounds: how many rounds were completed.
        seed: the run's seed.
        mode: "reference" or "fast" (docs/design.md, Determinism).
        environment: versions, threads and processor that the numbers depend on.
    """

    entries: tuple[Entry, ...] = ()
    model: Tree = field(default_factory=dict, repr=False)
    rounds: int = 0
    seed: int = 0
    mode: str = "reference"
    environment: Mapping[str, str] = field(default_factory=dict)

    def extended(self, entry: Entry, model: Tree, rounds: int) -> History:
        """This history with one entry more, and the model and number of rounds after it."""
        return replace(self, entries=(*self.entries, entry), model=model, rounds=rounds)

    def with_model(self, model: Tree, rounds: int) -> History:
        """This history with another model, that after so many rounds."""
        return replace(self, model=model, rounds=rounds)

    def evaluations(self, model: str | None = None) -> Iterator[Entry]:
        """The entries that evaluated a model. With `model`, only that one's."""
        return (e for e in self.entries if e.model is not None and model in (None, e.model))

    def series(self, metric: str, model: str = FEDERATED) -> list[tuple[int, float]]:
        """How a metric of a model went, as pairs (round, value)."""
        return [(e.round, e.metrics.value(metric)) for e in self.evaluations(model) if metric in e.metrics]

    def final(self, metric: str, model: str = FEDERATED) -> float:
        """The last value of a metric of a model. Raises `UnknownName` where it was never measured."""
        series = self.series(metric, model)
        if not series:
            measured = dict.fromkeys(name for entry in self.evaluations(model) for name in entry.metrics)
            error = UnknownName.among("metric", metric, measured)
            error.where = f"the evaluations of the model {model!r}"
            raise error
        return series[-1][1]

    def best(self, by: str, model: str = FEDERATED) -> tuple[int, float]:
        """The round whose model did best, and how well: `history.best("min loss")`, `history.best("max accuracy")`.

        Whether more is better is said, never guessed from a metric's name. The first of equal rounds counts.

        Raises:
            ConfigError: `by` is not "min" or "max" and the name of a metric.
            UnknownName: the metric was never measured.
        """
        goal = Goal.of(by)
        self.final(goal.metric, model)
        series = [(round_, value) for round_, value in self.series(goal.metric, model) if value == value]
        if not series:
            raise UnknownName(f"the metric {goal.metric!r} was NaN whenever it was measured")
        return (max if goal.most else min)(series, key=lambda pair: pair[1])

    def plot(self, *metrics: str, model: str | Sequence[str] | None = None) -> Figure:
        """Metrics by round, a panel for each: the federated model bold, owners' own models faint.

        Args:
            metrics: which; all that were evaluated unless given. One that was never evaluated, such as a loss in training,
                is drawn as each work reported it.
            model: only this model, or these; everyone unless given.

        Raises:
            UnknownName: a metric was never measured, or nothing was ever evaluated of a model.
            ConfigError: there is nothing to plot.
            MissingExtra: matplotlib is not installed.
        """
        models = list(dict.fromkeys(str(entry.model) for entry in self.evaluations()))
        named = models if model is None else [model] if isinstance(model, str) else list(model)
        for name in named:
            if name not in models:
                raise UnknownName.among("evaluated model", name, models)
        chosen = metrics or tuple(dict.fromkeys(name for e in self.evaluations() for name in e.metrics))
        if not chosen:
            raise ConfigError(
                "nothing was evaluated, so there is nothing to plot",
                hint='wrap the algorithm in Evaluated(...), or name a metric of the training: history.plot("loss")',
            )
        owners = sum(name != FEDERATED for name in named)
        return plots.lines({metric: self._lines(metric, named) for metric in chosen}, others=f"{owners} owners")

    def _lines(self, metric: str, models: Sequence[str]) -> list[plots.Line]:
        """A metric's line for each model that it was measured of, or else for each work that reported it."""
        series = {model: self.series(metric, model) for model in models}
        if not any(series.values()):
            for entry in self.entries:
                if entry.model is None and metric in entry.metrics:
                    series.setdefault(entry.work, []).append((entry.round, entry.metrics.value(metric)))
        if not any(series.values()):
            raise UnknownName.among("metric", metric, dict.fromkeys(name for e in self.entries for name in e.metrics))
        bold = [name for name in series if name == FEDERATED or name not in models]
        return [
            plots.Line(name, points, bold=name in bold or len(models) == 1) for name, points in series.items() if points
        ]

    def table(self) -> str:
        """The evaluations as lines of text, one for each round and model."""
        rows = [(str(e.round), str(e.model), e.metrics.numbers()) for e in self.evaluations()]
        names = list(dict.fromkeys(name for _, _, numbers in rows for name in numbers))
        width = max((len(model) for _, model, _ in rows), default=0)
        lines = ["round  " + "model".ljust(width) + "".join(name.rjust(max(10, len(name) + 2)) for name in names)]
        for round_, model, numbers in rows:
            cells = (f"{numbers[name]:.4f}" if name in numbers else "" for name in names)
            values = "".join(cell.rjust(max(10, len(name) + 2)) for name, cell in zip(names, cells, strict=True))
            lines.append(f"{round_:>5}  {model.ljust(width)}{values}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        last = {
            name: f"{value:.4g}"
            for e in list(self.evaluations(FEDERATED))[-1:]
            for name, value in e.metrics.numbers().items()
        }
        measured = "".join(f", {name}={value}" for name, value in last.items())
        return f"History({self.rounds} rounds, {len(self.entries)} asks, seed={self.seed}, {self.mode} mode{measured})"

    def _repr_html_(self) -> str:
        rows = [(e.round, str(e.model), e.metrics.numbers()) for e in self.evaluations()]
        names = list(dict.fromkeys(name for _, _, numbers in rows for name in numbers))
        cells = [
            (round_, model, *(f"{numbers[name]:.4f}" if name in numbers else "" for name in names))
            for round_, model, numbers in rows
        ]
        few = cells if len(cells) <= SHOWN else [*cells[: SHOWN // 2], ("…",) * (len(names) + 2), *cells[-SHOWN // 2 :]]
        note = f"{len(self.entries)} asks, seed {self.seed}, {self.mode} mode"
        title = f"History of {self.rounds} rounds"
        return plots.html_table(title, ["round", "model", *names], few, ["round", *names], note)

    def to_json(self) -> dict[str, Any]:
        """A JSON object of everything but the model, which is a file of its own."""
        return {
            "format": 1,
            "rounds": self.rounds,
            "seed": self.seed,
            "mode": self.mode,
            "environment": dict(self.environment),
            "entries": [entry.to_json() for entry in self.entries],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], model: Tree | None = None) -> History:
        """The history that `to_json` described, with its model."""
        entries = tuple(Entry.from_json(entry) for entry in data["entries"])
        return cls(entries, model or {}, data["rounds"], data["seed"], data["mode"], data["environment"])


def _outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "status": outcome.status.value,
        "why": outcome.why,
        "weight": outcome.weight,
        "metrics": outcome.metrics.to_json(),
        "staleness": outcome.staleness,
    }


def _outcome_from_json(data: Mapping[str, Any]) -> Outcome:
    return Outcome(
        Status(data["status"]), data["why"], data["weight"], Metrics.from_json(data["metrics"]), data["staleness"]
    )
