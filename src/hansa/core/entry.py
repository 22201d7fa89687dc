"""An entry: one ask and what came of it, as it is written down.

The entries of a simulated and of a real run have the same form. This file does no input or output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hansa.core.ask import Ask, Outcome, Reply, Status
from hansa.core.metrics import Metrics
from hansa.core.population import ClientId
from hansa.core.work import Settings, settings_from_json, settings_to_json

MODEL = "model"
"""The setting of an evaluation that names the evaluated model."""

FEDERATED = "federated"
"""What an evaluation's setting "model" says when the model is the federation's own."""


@dataclass(frozen=True)
class Entry:
    """One ask and what came of it.

    Attributes:
        round: the round that the ask belonged to.
        work: the work that was asked.
        version: how many model updates its broadcast had seen.
        settings: the ask's settings; see `model`.
        metrics: the merged metrics of the clients that count.
        outcomes: what became of each client.
        seconds: how long it took, by the executor's clock; in a simulation with a virtual clock, by that.
        left_out: who was not asked although it could have been, and why.
        down: bytes of the arrays that were sent to clients.
        up: bytes of the arrays that came back, whether they count or not.
        wasted: those of them that came back, or were on their way, for nothing.
    """

    round: int
    work: str
    version: int
    settings: Settings
    metrics: Metrics
    outcomes: Mapping[ClientId, Outcome]
    seconds: float = 0.0
    left_out: Mapping[ClientId, str] = field(default_factory=dict)
    down: int = 0
    up: int = 0
    wasted: int = 0

    @classmethod
    def of(cls, ask: Ask, reply: Reply, seconds: float = 0.0) -> Entry:
        """The entry of an ask and its reply."""
        return cls(
            ask.round,
            ask.work,
            ask.version,
            dict(ask.settings),
            reply.metrics,
            dict(reply.outcomes),
            seconds,
            dict(ask.left_out),
            reply.down,
            reply.up,
            reply.wasted,
        )

    @property
    def model(self) -> str | None:
        """The name of the model that was evaluated; None for any other ask."""
        return str(self.settings[MODEL]) if MODEL in self.settings else None

    def to_json(self) -> dict[str, Any]:
        """A JSON object; settings that are bytes are written in hexadecimal."""
        return {
            "round": self.round,
            "work": self.work,
            "version": self.version,
            "settings": settings_to_json(self.settings),
            "metrics": self.metrics.to_json(),
            "outcomes": {client: _outcome_to_json(outcome) for client, outcome in self.outcomes.items()},
            "seconds": self.seconds,
            "left_out": dict(self.left_out),
            "down": self.down,
            "up": self.up,
            "wasted": self.wasted,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Entry:
        """The entry that `to_json` described."""
        return cls(
            data["round"],
            data["work"],
            data["version"],
            settings_from_json(data["settings"]),
            Metrics.from_json(data["metrics"]),
            {client: _outcome_from_json(outcome) for client, outcome in data["outcomes"].items()},
            data["seconds"],
            data["left_out"],
            data["down"],
            data["up"],
            data["wasted"],
        )


def _outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "status": outcome.status.value,
        "why": outcome.why,
        "weight": outcome.weight,
        "metrics": outcome.metrics.to_json(),
        "staleness": outcome.staleness,
    }


def _outcome_from_json(data: Mapping[str, Any]) -> Outcome:
    return Outcome(
        Status(data["status"]), data["why"], data["weight"], Metrics.from_json(data["metrics"]), data["staleness"]
    )
