"""An optimiser between visits: forgotten, kept by its client, or federated beside the model.

Parameters here are about 1 and move by far less, so that x + (x' − x) is exactly x' (Sterbenz 1974) and a run in rounds can be
held to a run in one piece, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from hansa.algorithms import Evaluated, FedAvg, FedProx
from hansa.core import tree
from hansa.core.history import FEDERATED
from hansa.core.keys import key
from hansa.core.population import Population
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update, Work, visit_key
from hansa.errors import ConfigError, InputError, UnknownName
from hansa.experiment import Experiment
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.models.torch import TorchModel
from hansa.rules import Collect
from hansa.testing import blobs
from hansa.testing.laws import unlike_bits, unlike_form
from hansa.training import SGD, Adam, Evaluation, LocalTraining, Optimizer, Yogi
from hansa.training.kept import parted
from hansa.training.tasks.task import task
from hansa.training.tasks.work import Tasks

ROUNDS, STEPS, SEED = 4, 3, 5
DATA = blobs(1, examples=16)
WHOLE = DATA["0"]


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


MODEL = TorchModel(mlp, F.cross_entropy)


def far_from_zero(params: Tree, seed: int = 0) -> Tree:
    """Parameters of the same form, all between 1 and 2 in size."""
    generator = key(seed, "parameters").generator()
    return {
        name: (generator.choice([-1, 1], leaf.shape) * generator.uniform(1, 2, leaf.shape)).astype(leaf.dtype)
        for name, leaf in params.items()
    }


START = far_from_zero(MODEL.init(key(0)))


def in_rounds(work: Any, start: Tree, data: Any = DATA) -> Tree:
    """The model after a run."""
    experiment = Experiment(MODEL, FedAvg(work, ROUNDS), seed=SEED, initial=start)
    return Federation.simulate(data).run(experiment).history.model


def contexts() -> list[ClientContext]:
    """The visits of the only client."""
    return [
        ClientContext("0", {"train": WHOLE}, round_, visit_key(SEED, "0", round_, "train", 0))
        for round_ in range(1, ROUNDS + 1)
    ]


# --- LocalTraining


@pytest.mark.parametrize("model", [MODEL, NumpyMLP((5, 4, 3))], ids=["torch", "numpy"])
@pytest.mark.parametrize("policy", ["keep", "federate"])
@pytest.mark.parametrize("optimizer", [SGD(1e-3, momentum=0.9), Adam(1e-3)], ids=["SGD", "Adam"])
def test_local_training_in_rounds_is_one_long_training_bit_for_bit(
    optimizer: Optimizer, policy: Any, model: Any
) -> None:
    training = LocalTraining(model, optimizer, batch_size=16, steps=STEPS, optimizer_state=policy)
    start = far_from_zero(model.init(key(0)))
    state = training.init(start, contexts()[0])
    for context in contexts():
        for batch in training.batches(context):
            state = training.step(state, batch)
    expected = model.dump(state.params)
    assert all((abs(expected[name] - leaf) < abs(leaf) / 2).all() for name, leaf in start.items())  # see the top
    assert not unlike_bits(in_rounds(training, start), expected)
    assert unlike_bits(in_rounds(replace(training, optimizer_state="reset"), start), expected)


@given(
    seed=st.integers(0, 2**32),
    steps=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    optimizer=st.sampled_from([SGD(1e-3, momentum=0.5, nesterov=True), Adam(1e-3, weight_decay=0.1), Yogi(1e-3)]),
)
def test_however_a_training_is_cut_into_visits_it_is_the_same(
    seed: int, steps: list[int], optimizer: Optimizer
) -> None:
    model = NumpyMLP((5, 3))
    start = far_from_zero(model.init(key(0)), seed)
    whole = LocalTraining(model, optimizer, batch_size=16, steps=sum(steps))
    cut, params, state = replace(whole, optimizer_state="keep"), start, dict[str, np.ndarray[Any, Any]]()
    long = whole.init(start, contexts()[0])
    for number, several in enumerate(steps):
        visit = ClientContext("0", {"train": WHOLE}, 1, key(seed, number), state=state)
        part = replace(cut, steps=several)
        for batch in part.batches(visit):
            long = whole.step(long, batch)
        update = part(params, visit)
        assert update.state is not None
        params, state = tree.moved(params, update.tree), update.state
    assert not unlike_bits(params, model.dump(long.params))


@pytest.mark.parametrize("policy", ["keep", "federate"])
def test_the_steps_and_moments_of_adam_go_on(policy: Any) -> None:
    training = LocalTraining(MODEL, Adam(1e-3), batch_size=16, steps=STEPS, optimizer_state=policy)
    first = training(START, contexts()[0])
    left = first.state if policy == "keep" else parted(first.tree)[1]
    assert left is not None
    assert left["optimizer:steps"] == STEPS
    assert left["optimizer:m/0.weight"].any()
    assert left.keys() == {"optimizer:steps", *(f"optimizer:{slot}/{name}" for slot in "mv" for name in START)}
    second = replace(contexts()[1], state=left if policy == "keep" else {})
    again = training({**START, **left} if policy == "federate" else START, second)
    state = again.state if policy == "keep" else parted(again.tree)[1]
    assert state is not None
    assert state["optimizer:steps"] == 2 * STEPS


def test_a_reset_optimizer_leaves_nothing_behind() -> None:
    update = LocalTraining(MODEL, Adam(1e-3), steps=1)(START, contexts()[0])
    assert update.state is None
    assert update.tree.keys() == START.keys()


def test_fedprox_federates_its_clients_optimizer_too() -> None:
    local = LocalTraining(MODEL, SGD(1e-3, momentum=0.9), steps=STEPS, optimizer_state="federate")
    algorithm = FedProx(local, 2, mu=0.0)
    history = Federation.simulate(DATA).run(Experiment(MODEL, algorithm, initial=START)).history
    averaged = Federation.simulate(DATA).run(Experiment(MODEL, FedAvg(local, 2), initial=START)).history
    assert not unlike_bits(history.model, averaged.model)


# --- tasks


@task(train=True)
def train(model: nn.Module, optimizer: torch.optim.Optimizer, loader: Any) -> dict[str, float]:
    for _ in range(STEPS):
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
            optimizer.step()
    return {"loss": loss.item()}


Factory = Callable[[nn.Module], torch.optim.Optimizer]

OPTIMIZERS: dict[str, Factory] = {
    "SGD": lambda m: torch.optim.SGD(m.parameters(), lr=1e-3, momentum=0.9, dampening=0.5),
    "plain SGD": lambda m: torch.optim.SGD(m.parameters(), lr=1e-3),
    "Adam": lambda m: torch.optim.Adam(m.parameters(), lr=1e-3),
    "AMSGrad": lambda m: torch.optim.AdamW(m.parameters(), lr=1e-3, amsgrad=True),
    "NAdam": lambda m: torch.optim.NAdam(m.parameters(), lr=1e-3),
    "RMSprop": lambda m: torch.optim.RMSprop(m.parameters(), lr=1e-3, momentum=0.5, centered=True),
    "Adagrad": lambda m: torch.optim.Adagrad(m.parameters(), lr=1e-3),
    "Rprop": lambda m: torch.optim.Rprop(m.parameters(), lr=1e-3),
    "ASGD": lambda m: torch.optim.ASGD(m.parameters(), lr=1e-3, lambd=0.5),
}


def in_one_piece(make: Factory) -> Tree:
    """The loop that anybody would write, over the batches of all visits."""
    module = mlp()
    module.load_state_dict({name: torch.tensor(leaf) for name, leaf in START.items()})
    optimizer = make(module)
    for context in contexts():
        shuffle = context.key.child("task", "train", "shuffle")
        for epoch in range(STEPS):
            batch = WHOLE.select(shuffle.child("epoch", epoch).generator().permutation(len(WHOLE))).all()
            optimizer.zero_grad()
            F.cross_entropy(module(torch.tensor(batch["x"])), torch.tensor(batch["y"])).backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
            optimizer.step()
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("policy", ["keep", "federate"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_tasks_in_rounds_are_one_long_loop_bit_for_bit(name: str, policy: Any) -> None:
    work = Tasks(MODEL, train, optimizer=OPTIMIZERS[name], batch_size=16, optimizer_state=policy)
    expected = in_one_piece(OPTIMIZERS[name])
    assert all((abs(expected[each] - leaf) < abs(leaf) / 2).all() for each, leaf in START.items())
    assert not unlike_bits(in_rounds(work, START), expected)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "plain SGD"])
def test_a_loop_whose_optimizer_begins_anew_is_another_one(name: str) -> None:
    work = Tasks(MODEL, train, optimizer=OPTIMIZERS[name], batch_size=16)
    assert unlike_bits(in_rounds(work, START), in_one_piece(OPTIMIZERS[name]))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_first_federated_round_has_the_form_of_what_comes(name: str) -> None:
    work = Tasks(MODEL, train, optimizer=OPTIMIZERS[name], optimizer_state="federate")
    ask = FedAvg(work, 1).ask(FedAvg(work, 1).start(START, 0), Population(("0",), {"train": {"0": 16}}))
    assert ask is not None
    assert ask.broadcast.keys() == START.keys()
    assert ask.form is not None
    assert not unlike_form(work(START, contexts()[0]).tree, ask.form)
    assert not any(leaf.any() for leaf in parted(ask.form)[1].values())


def test_what_had_no_gradient_yet_is_federated_as_zeros_and_begins_when_it_has_one() -> None:
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(5, 3), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)  # type: ignore[no-any-return]

    model = TorchModel(TwoHeads, F.cross_entropy)
    work = Tasks(model, train, optimizer=OPTIMIZERS["Adam"], optimizer_state="federate")
    params = model.init(key(0))
    first = work(params, contexts()[0])
    assert not unlike_form(first.tree, {**params, **work.carried(params)})
    left = parted(first.tree)[1]
    assert left["optimizer:step/unused.weight"] == 0 < left["optimizer:step/used.weight"]
    again = work({**params, **left}, contexts()[1])
    assert again.tree["optimizer:step/used.weight"] == 2 * left["optimizer:step/used.weight"]


def test_dtypes_of_a_kept_state_stay() -> None:
    model = TorchModel(lambda: nn.Linear(5, 3, dtype=torch.bfloat16), F.cross_entropy)

    @task(train=True)
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, loader: Any) -> dict[str, float]:
        x, y = next(iter(loader))
        F.cross_entropy(model(x.bfloat16()), y).backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
        optimizer.step()
        return {}

    work = Tasks(model, step, optimizer=OPTIMIZERS["Adam"], optimizer_state="keep")
    update = work(model.init(key(0)), contexts()[0])
    assert update.state is not None
    assert update.state["optimizer:exp_avg/weight"].dtype.name == "bfloat16"
    assert update.state["optimizer:step/weight"].dtype == np.float32
    again = work(model.init(key(0)), replace(contexts()[1], state=tree.read_only(update.state)))
    assert again.state is not None
    assert again.state["optimizer:step/weight"] == 2


# --- several clients


def local(policy: Any) -> LocalTraining:
    return LocalTraining(MODEL, SGD(0.05, momentum=0.9), batch_size=8, epochs=1, optimizer_state=policy)


def tasks(policy: Any) -> Tasks:
    return Tasks(MODEL, train, optimizer=OPTIMIZERS["Adam"], batch_size=8, optimizer_state=policy)


@pytest.mark.parametrize("make", [local, tasks])
def test_federated_moments_are_the_weighted_mean_of_the_clients(make: Callable[[Any], Any]) -> None:
    work, visits = make("federate"), list[tuple[Tree, Update]]()

    def noted(broadcast: Tree, context: ClientContext) -> Update:
        update: Update = work(broadcast, context)
        visits.append((dict(broadcast), update))
        return update

    class Noted(FedAvg):
        @property
        def works(self) -> Mapping[str, Work]:
            return {"train": noted}

    Federation.simulate(blobs(3, examples=16)).run(Experiment(MODEL, Noted(work, 2), initial=START))
    first = [update for _, update in visits[:3]]
    slot = next(name for name in first[0].tree if name.endswith("/0.weight") and "step" not in name)
    assert [update.weight for update in first] == [16, 19, 22]
    mean = np.average([update.tree[slot] for update in first], axis=0, weights=[16, 19, 22])
    assert [slot in broadcast for broadcast, _ in visits] == 3 * [False] + 3 * [True]
    assert np.allclose(visits[3][0][slot], mean, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("make", [local, tasks])
@pytest.mark.parametrize("policy", ["keep", "federate"])
def test_the_model_that_is_seen_and_evaluated_is_the_model_alone(make: Callable[[Any], Any], policy: Any) -> None:
    evaluated: list[set[str]] = []

    class Looking(Evaluation):
        def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
            evaluated.append(set(broadcast))
            return super().__call__(broadcast, context)

    algorithm = Evaluated(FedAvg(make(policy), 2), Looking(MODEL))
    history = Federation.simulate(blobs(2)).run(Experiment(MODEL, algorithm)).history
    assert history.model.keys() == START.keys()
    assert len(evaluated) == 6
    assert all(names == START.keys() for names in evaluated)
    assert [round_ for round_, _ in history.series("loss", FEDERATED)] == [0, 1, 2]


def test_a_server_optimizer_leaves_the_clients_optimizer_alone() -> None:
    carried: list[Tree] = []

    class Watched(FedAvg):
        def tell(self, state: Any, reply: Any) -> Any:
            state = super().tell(state, reply)
            carried.append(state.optimizer)
            assert not unlike_bits(state.optimizer, parted(reply.aggregate)[1])
            assert all(name in START for name in state.server.slots["momentum"])
            return state

    algorithm = Watched(local("federate"), 3, server=SGD(0.5, momentum=0.9))
    Federation.simulate(blobs(2)).run(Experiment(MODEL, algorithm))
    assert len(carried) == 3
    assert all(state for state in carried)


def test_another_rule_for_the_changes_does_not_touch_the_moments() -> None:
    work = local("federate")
    rule = FedAvg(work, 1, rule=Collect()).ask(FedAvg(work, 1).start(START, 0), Population(("0",), {"train": {"0": 1}}))
    assert rule is not None
    one = replace(work(START, contexts()[0]), client="a")
    aggregate = rule.rule.finish(rule.rule.accumulate(rule.rule.zero(), one))
    assert set(aggregate) == {f"a/{name}" for name in START} | set(parted(one.tree)[1])


# --- what cannot be


def test_an_unknown_policy_is_told_with_near_misses() -> None:
    for make in (local, tasks):
        with pytest.raises(UnknownName, match="there is no optimizer_state 'federated'") as caught:
            make("federated")
        assert "federate" in caught.value.hint


def test_a_model_with_leaves_under_the_optimizers_prefix_is_refused() -> None:
    algorithm = FedAvg(local("reset"), 1)
    state = algorithm.start({"optimizer:head": np.zeros(2, np.float32)}, 0)
    with pytest.raises(InputError, match="the model has a leaf 'optimizer:head'"):
        algorithm.ask(state, Population(("0",), {"train": {"0": 1}}))


@pytest.mark.parametrize("policy", ["keep", "federate"])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda m: torch.optim.LBFGS(m.parameters()), "LBFGS cannot be kept or federated: its"),
        (lambda m: torch.optim.Adam([nn.Parameter(torch.ones(1))]), "one of its parameters is not the model's"),
        (lambda m: object(), "object cannot be kept or federated: it is no torch.optim.Optimizer"),
    ],
    ids=["LBFGS", "foreign", "none"],
)
def test_an_optimizer_whose_state_cannot_travel_is_named(make: Any, why: str, policy: Any) -> None:
    @task(train=True)
    def step(model: nn.Module, optimizer: Any, loader: Any) -> dict[str, float]:
        for group in getattr(optimizer, "param_groups", []):
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        if isinstance(optimizer, torch.optim.Optimizer):
            optimizer.step(lambda: 0.0)
        return {}

    with pytest.raises(ConfigError, match=why) as caught:
        Tasks(MODEL, step, optimizer=make, optimizer_state=policy)(START, contexts()[0])
    assert 'optimizer_state="reset"' in caught.value.hint


def test_a_state_of_a_parameter_that_the_module_does_not_have_is_named() -> None:
    state = {"optimizer:exp_avg/0.wight": np.zeros((4, 5), np.float32)}
    with pytest.raises(UnknownName, match=r"there is no parameter '0\.wight'") as caught:
        tasks("keep")(START, replace(contexts()[0], state=state))
    assert "0.weight" in caught.value.hint
