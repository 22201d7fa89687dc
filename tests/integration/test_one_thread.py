"""In reference mode a client computes with one thread, whatever the process was set to; afterwards that is put back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

import hansa
from hansa.experiment.reference import Mode


def most() -> int:
    """The most threads that any library of this process would use now."""
    return max([torch.get_num_threads(), *(int(pool["num_threads"]) for pool in threadpool_info())])


@dataclass
class Counting:
    """Trains nothing; notes the threads of each visit."""

    seen: list[int] = field(default_factory=list)
    buffers: frozenset[str] = frozenset()

    def __call__(self, broadcast: hansa.Tree, context: hansa.ClientContext) -> hansa.Update:  # noqa: ARG002 - a work's signature
        self.seen += [most(), *(pool["num_threads"] for pool in threadpool_info())]
        return hansa.Update({name: np.zeros_like(leaf) for name, leaf in broadcast.items()})


@pytest.mark.parametrize(("mode", "expected"), [("reference", {1}), ("fast", {2})])
def test_a_client_has_the_threads_of_the_mode(mode: Mode, expected: set[int]) -> None:
    examples = hansa.ClientDataset({"x": np.ones((4, 2), np.float32), "y": np.zeros(4, np.int64)})
    work = Counting()
    experiment = hansa.Experiment(hansa.NumpyMLP((2, 2)), hansa.FedAvg(work, rounds=2))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with threadpool_limits(limits=2):
            hansa.Federation.simulate({"anna": examples}, mode=mode).run(experiment)
            assert most() == 2
    finally:
        torch.set_num_threads(before)
    assert len(work.seen) >= 4
    assert set(work.seen) == expected
