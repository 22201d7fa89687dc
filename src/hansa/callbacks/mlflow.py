"""MlflowLogger: a run in MLflow, with its parameters, its metrics by round and its model. No active run of MLflow's changes."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from hansa.callbacks.numbers import numbers
from hansa.callbacks.port import Watched
from hansa.core.history import Entry
from hansa.errors import ConfigError, HansaError, MissingExtra
from hansa.experiment import save_results

LONGEST = 500
"""Characters of a parameter's value that every MLflow server takes."""

_FORBIDDEN = re.compile(r"[^\w\-. :/]", re.ASCII)


@dataclass
class MlflowLogger:
    """Logs a run: parameters and tags when it starts, metrics by round, the last model and the History when it ends.

    Attributes:
        params: what was run with: a mapping, or a frozen dataclass such as the Experiment, whose fields are named by their
            path, "algorithm.inner.work.optimizer.learning_rate". Seed and mode are logged in any case.
        tracking: where: a server's address, "sqlite:///FILE" or "file:FOLDER"; what MLFLOW_TRACKING_URI says unless given.
        experiment: the MLflow experiment, made where there is none.
        clients: log what each client measured, too.
        artifacts: log `model.safetensors` and `history.json`.
    """

    params: Any = field(default_factory=dict)
    tracking: str | None = None
    experiment: str = "hansa"
    clients: bool = False
    artifacts: bool = True
    _client: Any = field(default=None, init=False, repr=False, compare=False)
    _id: str = field(default="", init=False, repr=False, compare=False)

    def started(self, run: Watched) -> None:
        """Make a run in MLflow.

        Raises:
            MissingExtra: mlflow is not installed.
            ConfigError: the tracking store cannot be used.
        """
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Param
        except ImportError as missing:
            raise MissingExtra.of("mlflow", "mlflow", "an MlflowLogger") from missing
        with _explained(self.tracking):
            self._client = MlflowClient(tracking_uri=self.tracking)
            found = self._client.get_experiment_by_name(self.experiment)
            where = self._client.create_experiment(self.experiment) if found is None else found.experiment_id
            made = self._client.create_run(where, run_name=run.name, tags={"hansa.run": run.id})
            self._id = made.info.run_id
            told = {"seed": run.history.seed, "mode": run.history.mode, **parameters(self.params)}
            listed = [Param(_name(key), str(value)[:LONGEST]) for key, value in told.items()]
            for begin in range(0, len(listed), 100):  # what a server takes at once
                self._client.log_batch(self._id, params=listed[begin : begin + 100])

    def entry(self, _run: Watched, entry: Entry) -> None:
        """Log its numbers, the round as step: see `Number.label`."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        logged = [
            Metric(_name(each.label), each.value, now, each.round) for each in numbers(entry, clients=self.clients)
        ]
        for begin in range(0, len(logged), 1000):  # what a server takes at once
            self._client.log_batch(self._id, metrics=logged[begin : begin + 1000])

    def ended(self, run: Watched) -> None:
        """Log the results, and say how the run ended: FINISHED, FAILED, or KILLED where it was interrupted."""
        if not self._id:
            return
        client, made = self._client, self._id
        self._client, self._id = None, ""
        try:
            if self.artifacts:
                with tempfile.TemporaryDirectory() as folder:
                    save_results(run.history.with_model(run.model("last"), run.history.rounds), Path(folder))
                    client.log_artifacts(made, folder)
        finally:
            if run.failure:
                client.set_tag(made, "hansa.failure", run.failure[:LONGEST])
            client.set_terminated(made, "FAILED" if run.failure else "FINISHED")


def parameters(value: Any, path: str = "") -> dict[str, str]:
    """The settings in a mapping or a frozen dataclass by their paths, as text; what is neither number nor text is left out."""
    inner: dict[str, Any] = {}
    if isinstance(value, Mapping):
        inner = {str(name): each for name, each in value.items()}
    elif is_dataclass(value) and not isinstance(value, type):
        inner = {each.name: getattr(value, each.name) for each in fields(value) if not each.name.startswith("_")}
    elif isinstance(value, tuple | list):
        inner = {str(index): each for index, each in enumerate(value)}
    elif value is None or isinstance(value, bool | int | float | str):
        return {path: str(value)} if path else {}
    found = {path: type(value).__name__} if path and is_dataclass(value) else {}
    for name, each in inner.items():
        found |= parameters(each, f"{path}.{name}" if path else name)
    return found


def _name(text: str) -> str:
    """A name as MLflow takes it: it is part of a path there."""
    safe = "/".join(part for part in _FORBIDDEN.sub("_", text).split("/") if part.strip(". "))
    return safe[:250] or "_"


@contextmanager
def _explained(tracking: str | None) -> Iterator[None]:
    try:
        yield
    except HansaError:
        raise
    except Exception as problem:
        raise ConfigError(
            f"MLflow cannot be used: {problem}",
            where=tracking or "MLFLOW_TRACKING_URI",
            hint="name a server: MlflowLogger(tracking='http://...'); mlflow-skinny alone has no store of its own but files, "
            "which MLFLOW_ALLOW_FILE_STORE=true allows",
        ) from problem
