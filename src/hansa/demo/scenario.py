"""The demo's scenario: three owners hold a few digits each and want a model of all ten; a fourth only evaluates.

This file says what is run, not how it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hansa.algorithms import Evaluated, FedAvg
from hansa.core.sampling import FixedClients
from hansa.data import ByLabels, ClientDataset, Dataset, FederatedData, load_dataset
from hansa.experiment import Experiment
from hansa.models import Model
from hansa.training import SGD, Evaluation, ExponentialDecay, LocalTraining, accuracy, confusion_matrix

DATASETS = ("digits", "mnist", "fashion_mnist")

OWNERS: dict[str, tuple[int, ...]] = {"alice": (0, 1, 2, 3), "bob": (4, 5, 6), "charlie": (7, 8, 9)}
"""Who holds which classes."""

GROUPS = {f"{held[0]}-{held[-1]}": held for held in OWNERS.values()}
"""The owners' classes under a name that a table has room for."""

EVALUATOR = "testing"
"""Holds the test data and never trains."""

POOLED = "pooled"
"""The one owner of the baseline that brings all data to one place."""


@dataclass(frozen=True)
class Scenario:
    """What the demo runs.

    Attributes:
        dataset: one of `DATASETS`.
        rounds: each owner trains 10 batches of 32 in each; then the models are averaged.
        seed: of every random choice.
        folder: where the data set's files lie; where `load_dataset` looks unless given.
    """

    dataset: str = "digits"
    rounds: int = 40
    seed: int = 0
    folder: str = ""

    @cached_property
    def source(self) -> Dataset:
        """The data set, before anybody owns it."""
        return load_dataset(self.dataset, folder=self.folder or None)

    @cached_property
    def data(self) -> FederatedData:
        """The owners' data, and the evaluator's."""
        test, schema = {EVALUATOR: self.source.test}, self.source.schema
        return FederatedData.partition(self.source.train, ByLabels(OWNERS), seed=self.seed, test=test, schema=schema)

    @cached_property
    def model(self) -> Model:
        """A small convolution network for the data set's images, with the cross-entropy loss."""
        from hansa.models.torch import TorchModel  # takes a second to load, and says what to install where it cannot

        from hansa.demo import networks  # isort: skip - after the adapter

        return TorchModel(networks.network_8 if self.dataset == "digits" else networks.network_28, networks.loss)

    @property
    def reported(self) -> tuple[int, ...]:
        """The rounds that are evaluated: 1, 11, 21, ... and the last."""
        return tuple(sorted({*range(1, self.rounds + 1, 10), self.rounds}))

    def federated(self) -> Experiment:
        """The federation's own experiment: each owner's own model is evaluated besides the average."""
        return self._experiment("federated", tuple(OWNERS), self.reported, owners=True)

    def alone(self, owner: str) -> tuple[Experiment, FederatedData]:
        """The same training by one owner, from the same initial model, on its own data only; and that data."""
        return self._baseline(owner, self.data[owner])

    def pooled(self) -> tuple[Experiment, FederatedData]:
        """The same training by somebody who was given everyone's data; and that data."""
        return self._baseline(POOLED, self.source.train)

    def _baseline(self, owner: str, examples: ClientDataset) -> tuple[Experiment, FederatedData]:
        data = FederatedData({owner: examples}, {EVALUATOR: self.source.test})
        return self._experiment(owner, (owner,), (self.rounds,), owners=False), data

    def _experiment(
        self, name: str, trainers: tuple[str, ...], evaluated: tuple[int, ...], *, owners: bool
    ) -> Experiment:
        local = LocalTraining(self.model, SGD(0.1), batch_size=32, steps=10, schedule=ExponentialDecay(0.98))
        averaging = FedAvg(local, self.rounds, FixedClients(trainers), weighted=False)
        evaluation = Evaluation(self.model, {"accuracy": accuracy, "confusion": confusion_matrix})
        return Experiment(
            self.model, Evaluated(averaging, evaluation, rounds=evaluated, owners=owners), self.seed, name=name
        )
