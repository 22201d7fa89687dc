"""What happened in a run: one entry for every ask, and how to read them.

The History of a simulated and of a real run have the same form. This file does no input or output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, overload

from hansa import plots
from hansa.core.entry import FEDERATED as FEDERATED
from hansa.core.entry import MODEL as MODEL
from hansa.core.entry import Entry as Entry
from hansa.core.goal import Goal
from hansa.core.spent import Over, Waste, axis, spent, wasted
from hansa.core.tree import Tree
from hansa.errors import ConfigError, UnknownName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VIRTUAL = "virtual"
"""What the environment says of the clock whose seconds are a simulation's."""

SHOWN = 20
"""Evaluations that a notebook's table lists: the first and the last of more."""


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

    @overload
    def series(self, metric: str, model: str = ..., over: Literal["rounds"] = ...) -> list[tuple[int, float]]: ...
    @overload
    def series(self, metric: str, model: str = ..., over: Over = ...) -> list[tuple[float, float]]: ...
    def series(
        self, metric: str, model: str = FEDERATED, over: Over = "rounds"
    ) -> list[tuple[int, float]] | list[tuple[float, float]]:
        """How a metric of a model went, as pairs (round, value).

        Args:
            metric: which.
            model: whose.
            over: "seconds" and "bytes" give what the run had taken until then instead of the round, evaluations included:
                seconds by the run's clock, which may be a virtual one; bytes of arrays sent and received.

        Raises:
            UnknownName: of another `over`.
        """
        return [
            (at, e.metrics.value(metric))
            for at, e in zip(spent(self.entries, over), self.entries, strict=True)
            if e.model == model and metric in e.metrics
        ]

    def reached(self, by: str, value: float, over: Over = "rounds", model: str = FEDERATED) -> float | None:
        """After how many rounds, seconds or bytes a model was first so good: `reached("max accuracy", 0.95, "seconds")`.

        Args:
            by: which way a metric is good, "max accuracy" or "min loss".
            value: how good; None is returned where it never was.
            over: what is counted; see `series`.
            model: whose.

        Raises:
            ConfigError: `by` is not "min" or "max" and the name of a metric.
            UnknownName: the metric was never measured, or of another `over`.
        """
        goal = Goal.of(by)
        self.final(goal.metric, model)
        series = self.series(goal.metric, model, over)
        return next((at for at, found in series if (found >= value if goal.most else found <= value)), None)

    def wasted(self) -> Waste:
        """The visits that did not count: failed, rejected, dropped or late; and the bytes that they sent for nothing."""
        return wasted(self.entries)

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

    def plot(
        self,
        *metrics: str,
        model: str | Sequence[str] | None = None,
        over: Over = "rounds",
    ) -> Figure:
        """Metrics by round, a panel for each: the federated model bold, owners' own models faint.

        Several runs are drawn in one picture by `hansa.compare`.

        Args:
            metrics: which; all that were evaluated unless given. One that was never evaluated, such as a loss in training,
                is drawn as each work reported it.
            model: only this model, or these; everyone unless given.
            over: what the horizontal axis counts: "rounds", "seconds" or "bytes"; see `series`.

        Raises:
            UnknownName: a metric was never measured, nothing was ever evaluated of a model, or of another `over`.
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
        largest = max(spent(self.entries, over), default=0.0)
        divisor, x = axis(over, largest, virtual=self.is_virtual)
        panels = {metric: self._lines(metric, named, over, divisor) for metric in chosen}
        return plots.lines(panels, x=x, others=f"{owners} owners")

    @property
    def is_virtual(self) -> bool:
        """Whether its seconds are a virtual clock's."""
        return self.environment.get("clock") == VIRTUAL

    def _lines(self, metric: str, models: Sequence[str], over: Over, divisor: float) -> list[plots.Line]:
        """A metric's line for each model that it was measured of, or else for each work that reported it."""
        series: dict[str, list[tuple[float, float]]] = {
            model: [(at / divisor, value) for at, value in self.series(metric, model, over)] for model in models
        }
        if not any(series.values()):
            for at, entry in zip(spent(self.entries, over), self.entries, strict=True):
                if entry.model is None and metric in entry.metrics:
                    series.setdefault(entry.work, []).append((at / divisor, entry.metrics.value(metric)))
        if not any(series.values()):
            raise UnknownName.among("metric", metric, dict.fromkeys(name for e in self.entries for name in e.metrics))
        bold = [name for name in series if name == FEDERATED or name not in models]
        return [
            plots.Line(name, points, bold=name in bold or len(models) == 1) for name, points in series.items() if points
        ]

    def _rows(self) -> tuple[list[str], list[tuple[str, ...]]]:
        """(headings, cells) of the evaluations, one row for each round and model; with the time where that is virtual."""
        times = {id(e): at for e, at in zip(self.entries, spent(self.entries, "seconds"), strict=True)}
        rows = [(e, e.metrics.numbers()) for e in self.evaluations()]
        names = list(dict.fromkeys(name for _, numbers in rows for name in numbers))
        timed = ["seconds"] if self.is_virtual else []
        cells = [
            (
                str(e.round),
                str(e.model),
                *(f"{times[id(e)]:.1f}" for _ in timed),
                *(f"{numbers[name]:.4f}" if name in numbers else "" for name in names),
            )
            for e, numbers in rows
        ]
        return ["round", "model", *timed, *names], cells

    def table(self) -> str:
        """The evaluations as lines of text, one for each round and model; with the seconds where a clock is virtual."""
        (first, second, *names), rows = self._rows()
        width = max((len(row[1]) for row in rows), default=0)
        widths = [max(10, len(name) + 2) for name in names]
        lines = [f"{first}  {second.ljust(width)}" + "".join(map(str.rjust, names, widths))]
        lines += [f"{row[0]:>5}  {row[1].ljust(width)}" + "".join(map(str.rjust, row[2:], widths)) for row in rows]
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
        headings, cells = self._rows()
        gap = ("…",) * len(headings)
        few = cells if len(cells) <= SHOWN else [*cells[: SHOWN // 2], gap, *cells[-SHOWN // 2 :]]
        note = f"{len(self.entries)} asks, seed {self.seed}, {self.mode} mode"
        return plots.html_table(f"History of {self.rounds} rounds", headings, few, [headings[0], *headings[2:]], note)

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
