"""The Experiment: a frozen description of what to run, the same for the simulator and for a real federation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from hansa.algorithms.evaluated import EVALUATE
from hansa.algorithms.loading import Loading
from hansa.algorithms.stopping import StopCondition, Stopping
from hansa.core.ask import FederatedAlgorithm
from hansa.core.keeping import Keeping
from hansa.core.keys import key
from hansa.core.tree import Tree
from hansa.core.work import Settings
from hansa.errors import ConfigError
from hansa.experiment.device import check_policy
from hansa.experiment.requires import NOTHING, Requires
from hansa.models import Model
from hansa.plots import html_table
from hansa.training.loading import Loader

if TYPE_CHECKING:
    from hansa.data import FederatedData
    from hansa.experiment.debugging import Debugged


@dataclass(frozen=True, repr=False)
class Experiment:
    """What to run.

    Attributes:
        model: gives the initial parameters.
        algorithm: what is done with them: rounds, who takes part, local training or tasks, evaluations.
        seed: of every random choice in the run.
        initial: start from these parameters instead of the model's own.
        name: for people.
        loader: makes of each owner's shard what is trained and validated on; see `hansa.training.loading.Loader`.
        settings: what the loader is given.
        best: by which metric the best model is kept, such as "max accuracy".
        keep_every: keep a model every so many rounds, besides the best and the last.
        stop: end the run early once one of these holds: `Reached("max accuracy", 0.95)`, `NoProgress("min loss")`.
        device: where to compute: "cpu", "cuda if there", or "cuda" where an owner without one cannot take part.
        requirements: what owners need installed beside Hansa, such as "scikit-learn>=1.4".
        include: patterns of further files to ship, besides the modules that the experiment's file imports.
        envoys: the owners that are asked to take part, by name; none means any.
        labels: what an owner's Envoy must carry to be asked.
        requires: what an owner must let it use to be asked: cores, memory, a device.
        at_least: how many owners must take part; None for all that are named, or else one.
    """

    model: Model
    algorithm: FederatedAlgorithm[Any]
    seed: int = 0
    initial: Tree | None = None
    name: str = "experiment"
    loader: Loader | None = None
    settings: Settings = field(default_factory=dict)
    best: str | None = None
    keep_every: int | None = None
    stop: StopCondition | Sequence[StopCondition] = ()
    device: str = "cpu"
    requirements: Sequence[str] = ()
    include: Sequence[str] = ()
    envoys: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    at_least: int | None = None
    requires: Requires = NOTHING

    def __post_init__(self) -> None:
        for name in ("requirements", "include", "envoys"):
            if isinstance(listed := getattr(self, name), str):
                raise ConfigError(f"{name} is a list of texts, not one text", hint=f"write {name}=({listed!r},)")
            object.__setattr__(self, name, tuple(listed))
        if not isinstance(self.stop, tuple):
            stop: Any = self.stop
            object.__setattr__(self, "stop", tuple(stop) if isinstance(stop, list) else (stop,))
        if self.loader is not None and not callable(self.loader):
            raise ConfigError(
                f"the loader is a function of (shard, settings), not {type(self.loader).__name__}",
                hint="pass the function itself",
            )
        if not isinstance(self.requires, Requires):
            raise ConfigError(
                f"requires is a hansa.Requires, not {type(self.requires).__name__}",
                hint='such as requires=hansa.Requires(cores=2, memory="1 GB")',
            )
        check_policy(self.device)
        if self.requirements:  # what reads them takes longer to load than all else here
            from hansa.experiment.requirements import normal

            normal(self.requirements)
        Keeping(self.best, self.keep_every)
        if (self.best or self.stop) and EVALUATE not in self.algorithm.works:
            raise ConfigError(
                "the best model, and when to stop, are judged by evaluations, and the algorithm makes none",
                hint="wrap it: hansa.Evaluated(algorithm, hansa.Evaluation(model))",
            )

    def __repr__(self) -> str:
        algorithm, model = type(self.algorithm).__name__, type(self.model).__name__
        rounds = "" if self.rounds is None else f", {self.rounds} rounds"
        return f"Experiment({self.name!r}: {algorithm} of {model}{rounds}, seed={self.seed})"

    def _repr_html_(self) -> str:
        said = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("initial", "name")}
        rows = [(name, f"{value!r:.200}") for name, value in said.items() if value not in (None, (), {}, NOTHING)]
        return html_table(repr(self), ("", ""), rows)

    @property
    def plan(self) -> FederatedAlgorithm[Any]:
        """The algorithm as it is run: with the loader before its works, and the conditions that end it."""
        plan = self.algorithm
        if self.loader is not None:
            plan = Loading(plan, self.loader, self.settings)
        if self.stop:
            assert isinstance(self.stop, tuple)  # noqa: S101 - made so above; for the type checker
            plan = Stopping(plan, self.stop)
        return plan

    @property
    def keeping(self) -> Keeping:
        """Which models are kept besides the last."""
        return Keeping(self.best, self.keep_every)

    @property
    def rounds(self) -> int | None:
        """How many rounds there will be, if the algorithm, or one inside it, says so."""
        algorithm: Any = self.algorithm
        while algorithm is not None:
            rounds = getattr(algorithm, "rounds", None)
            if isinstance(rounds, int) and not isinstance(rounds, bool):
                return rounds
            algorithm = getattr(algorithm, "inner", None)
        return None

    def start(self) -> Tree:
        """The parameters that the run starts from."""
        return self.model.init(key(self.seed, "init")) if self.initial is None else self.initial

    def debug(self, data: FederatedData) -> Debugged:
        """Run each work once, here, on the first clients of some data, and show the shapes of what it gives.

        Args:
            data: `federation.dummy_data()`, or data of one's own.

        Raises:
            Exception: what a work raised, as it raised it.
        """
        from hansa.experiment.debugging import debug

        return debug(self, data)
