"""Synchronous: a round waits for all ten."""

from pacing import enough, evaluation, model, server, training

import hansa

algorithm = hansa.Evaluated(hansa.FedAvg(training, 100, server=server), evaluation)
experiment = hansa.Experiment(model, algorithm, stop=enough, name="waiting")
