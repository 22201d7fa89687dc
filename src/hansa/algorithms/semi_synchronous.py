"""Semi-synchronous rounds: FedAvg that asks more clients than it needs and does not wait for the slowest of them.

K. Bonawitz et al., Towards Federated Learning at Scale: System Design, MLSys 2019, section 2.2 (over-selection: about 130 % of
the clients that are needed are asked).

    each round:  S ← ⌈n·(1 + ε)⌉ clients;  the first n of them that answer count;  the others' work is wasted
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from hansa.algorithms.fedavg import FedAvg
from hansa.algorithms.refilling import Samplers
from hansa.core.ask import Closing
from hansa.core.sampling import UniformSampler
from hansa.core.work import TrainingWork
from hansa.errors import ConfigError


def semi_synchronous(
    local: TrainingWork,
    rounds: int,
    cohort: int,
    over: float = 0.3,
    *,
    deadline: float | None = None,
    least: int | None = None,
    sampler: Samplers = UniformSampler,
    **settings: Any,
) -> FedAvg:
    """FedAvg with over-selection: ask ⌈cohort·(1 + over)⌉ clients, and keep the first `cohort` that answer.

    Clients that come after that are seen as late or dropped in the History: they have worked for nothing, and the slowest
    hardly ever count. Where that biases the model, `FedBuff` wastes nobody.

    With a deadline a round takes everyone who answers in time instead, the surplus too, and ends at the deadline; if fewer than
    `least` have come by then, it goes on until `least` have.

    Args:
        local: the clients' training.
        rounds: how many.
        cohort: n, how many updates a round needs.
        over: ε, how many more are asked, as a share of n.
        deadline: seconds after the ask; None to end the round with the `cohort`-th update.
        least: with a deadline, how many updates are enough; unless given, `cohort`.
        sampler: who is drawn, of those that hold training data: a function of how many, such as `UniformSampler`.
        settings: everything else that `FedAvg` takes: server, weighted, rule.

    Raises:
        ConfigError: settings that contradict each other.
    """
    if cohort < 1:
        raise ConfigError(f"a round needs at least one update, not {cohort}")
    if not (over >= 0 and math.isfinite(over)):
        raise ConfigError(f"the share of clients that are asked beyond the cohort is at least 0, not {over}")
    if least is not None and deadline is None:
        raise ConfigError(
            "least says how many updates are enough at the deadline, and there is none", hint="give deadline=..., too"
        )
    asked = math.ceil(cohort * (1 + Fraction(str(over))))  # 10 · (1 + 0.1) is 11, and not a little more
    if least is not None and least > asked:
        raise ConfigError(f"{least} updates are to be enough at the deadline, and only {asked} clients are asked")
    enough = cohort if least is None else least
    closing = Closing.quorum(cohort, grace=0.0) if deadline is None else Closing.quorum(enough, deadline)
    return FedAvg(local, rounds, sampler(asked), closing=closing, **settings)
