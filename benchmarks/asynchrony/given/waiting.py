"""Synchronous: a round waits for all ten."""

from pacing import enough, evaluation, model, server, training  # type: ignore[import-not-found]  # beside it, where it runs

import hansa

algorithm = hansa.Evaluated(hansa.FedAvg(training, 100, server=server), evaluation)
experiment = hansa.Experiment(model, algorithm, stop=enough, name="waiting")
