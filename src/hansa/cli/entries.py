"""How a History is printed: the same for a simulated run and for one in a real federation."""

from __future__ import annotations

from hansa.core.history import Entry, History
from hansa.protocol import codec


def line(entry: Entry) -> str:
    """One ask and what it gave, on one line."""
    model = f" {entry.model}" if entry.model is not None else ""
    numbers = "  ".join(f"{name} {value:.4f}" for name, value in entry.metrics.numbers().items())
    bad = [f"{client} {outcome.status}" for client, outcome in entry.outcomes.items() if outcome.why]
    trouble = f"  ({', '.join(bad)})" if bad else ""
    return f"round {entry.round:>4}  {entry.work}{model}  {numbers}{trouble}"


def document(history: History) -> dict[str, object]:
    """A History as JSON, with its model's sha256."""
    return {"model_sha256": codec.digest(history.model), **history.to_json()}
