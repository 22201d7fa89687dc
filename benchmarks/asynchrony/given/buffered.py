"""Asynchronous: a step for five updates, with all ten at work."""

from pacing import enough, evaluation, model, server, training  # type: ignore[import-not-found]  # beside it, where it runs

import hansa
from hansa.algorithms.fedbuff import FedBuff

buffered = FedBuff(training, 400, goal=5, concurrency=10, server=server)
experiment = hansa.Experiment(model, hansa.Evaluated(buffered, evaluation, every=2), stop=enough, name="buffered")
