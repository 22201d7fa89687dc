"""FedAvg of a client class over lists of arrays, which finds its data in its context: softmax regression by hand."""

from collections.abc import Mapping
from typing import Any

import numpy as np

import hansa
from hansa.core.tree import Array

Arrays = list[Array]


class Regression:
    """A client as Flower has them."""

    def __init__(self, context: hansa.ClientContext) -> None:
        self.data = context.data

    def fit(self, parameters: Arrays, config: Mapping[str, Any]) -> tuple[Arrays, int, dict[str, float]]:  # noqa: ARG002 - as classes have it
        """Ten steps of gradient descent on everything."""
        weight, bias = (np.array(each) for each in parameters)
        x, y = self.data["train"]["x"], self.data["train"]["y"]
        for _ in range(10):
            error = self._softmax(x @ weight + bias) - np.eye(3, dtype=x.dtype)[y]
            weight -= np.float32(0.1) * (x.T @ error) / np.float32(len(y))
            bias -= np.float32(0.1) * error.mean(axis=0)
        return [weight, bias], len(y), {"norm": float(np.linalg.norm(weight))}

    def evaluate(self, parameters: Arrays, config: Mapping[str, Any]) -> tuple[float, int, dict[str, float]]:  # noqa: ARG002 - as classes have it
        """Loss and accuracy on what is held out."""
        x, y = self.data["test"]["x"], self.data["test"]["y"]
        scores = self._softmax(x @ parameters[0] + parameters[1])
        loss = float(-np.log(scores[np.arange(len(y)), y]).mean())
        return loss, len(y), {"accuracy": float((scores.argmax(axis=1) == y).mean())}

    @staticmethod
    def _softmax(scores: Array) -> Any:
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)


def client_fn(context: hansa.ClientContext) -> Regression:
    """A client for one visit."""
    return Regression(context)


clients = hansa.Clients(client_fn)
algorithm = hansa.Evaluated(hansa.FedAvg(clients.train, rounds=3), clients.evaluate)
initial = {"0": np.zeros((5, 3), np.float32), "1": np.zeros(3, np.float32)}
experiment = hansa.Experiment(hansa.ArrayModel(), algorithm, seed=1, initial=initial, name="clients")
