"""What loggers write is read back by those who read such files, and is the History's numbers."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hansa.callbacks import CsvLogger, JsonLinesLogger, MlflowLogger, TensorBoardLogger
from hansa.callbacks.mlflow import parameters
from hansa.callbacks.numbers import numbers
from hansa.core.ask import Outcome, Status
from hansa.core.history import Entry
from hansa.core.metrics import Mean, Metrics
from hansa.errors import ConfigError


def odd_entry() -> Entry:
    """Numbers that are not finite, and names that others chose."""
    metrics = Metrics({"loss": Mean.of(math.nan), 'a "quoted", one': Mean.of(math.inf)})
    return Entry(3, "train", 2, {}, metrics, {"../../é\n": Outcome(Status.UPDATED, metrics=metrics)})


# --- files


def test_a_csv_file_has_a_line_for_every_number(tmp_path: Path, small: Callable[..., Any], simulated: Any) -> None:
    path = tmp_path / "deep" / "numbers.csv"
    history = simulated(small(2), [CsvLogger(path)]).run()
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [number for entry in history.entries for number in numbers(entry)]
    assert [(row["client"], row["metric"], float(row["value"])) for row in rows] == [
        (each.client, each.metric, each.value) for each in expected
    ]
    merged = [row for row in rows if row["model"] == "federated" and row["metric"] == "loss" and not row["client"]]
    assert [(int(row["round"]), float(row["value"])) for row in merged] == history.series("loss")
    assert {row["run"] for row in rows} == {"blobs-1"}


def test_a_line_is_in_the_file_as_soon_as_its_ask_is_closed(
    tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    run, logger = simulated(small(1)), CsvLogger(tmp_path / "numbers.csv")
    logger.started(run)
    logger.entry(run, odd_entry())
    assert (tmp_path / "numbers.csv").read_text(encoding="utf-8") == (
        "run,round,work,model,client,metric,value\n"
        "blobs-1,3,train,,,loss,nan\n"
        'blobs-1,3,train,,,"a ""quoted"", one",inf\n'
        'blobs-1,3,train,,"../../é\n",loss,nan\n'
        'blobs-1,3,train,,"../../é\n","a ""quoted"", one",inf\n'
    )


def test_json_lines_say_the_same_with_null_for_what_is_no_number(
    tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    path = tmp_path / "numbers.jsonl"
    history = simulated(small(1), [JsonLinesLogger(path, clients=False)]).run()
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["value"] for row in rows if row["metric"] == "accuracy" and row["model"] == "federated"] == [
        value for _, value in history.series("accuracy")
    ]
    assert {row["client"] for row in rows} == {""}
    JsonLinesLogger(path).entry(simulated(small(1)), odd_entry())
    assert [json.loads(line)["value"] for line in path.read_text(encoding="utf-8").splitlines()[-4:]] == [None] * 4


@pytest.mark.parametrize("kind", [CsvLogger, JsonLinesLogger])
def test_a_file_is_written_on_after_a_line_that_was_cut(
    kind: Any, tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    path = tmp_path / "numbers"
    simulated(small(1), [kind(path)]).run()
    before = path.read_bytes()
    path.write_bytes(before[:-5])
    simulated(small(1), [kind(path)]).run()
    lines = path.read_bytes().splitlines(keepends=True)
    assert b"".join(lines[: before.count(b"\n")]) == before[:-5] + b"\n"
    assert path.read_bytes().endswith(before[-200:])
    assert sum(line.startswith(b"run,") for line in lines) <= 1


def test_a_csv_file_with_other_headings_is_left_alone(
    tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="other headings"):
        simulated(small(1), [CsvLogger(path)]).run()
    assert path.read_text(encoding="utf-8") == "a,b\n1,2\n"
    with pytest.raises(ConfigError, match="cannot be written"):
        simulated(small(1), [CsvLogger(path / "below")]).run()


# --- TensorBoard


def single(value: float) -> float:
    """As TensorBoard keeps it."""
    return float(np.float32(value))


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard's own reader finds."""
    from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator
    from tensorboard.util import tensor_util

    reader = EventAccumulator(str(folder), size_guidance={TENSORS: 0})
    reader.Reload()
    tags = reader.Tags()["tensors"]
    assert all(reader.SummaryMetadata(tag).plugin_data.plugin_name == "scalars" for tag in tags)
    return {
        tag: [(event.step, float(tensor_util.make_ndarray(event.tensor_proto))) for event in reader.Tensors(tag)]
        for tag in tags
    }


def test_tensorboard_reads_every_number_by_round(
    tmp_path: Path, small: Callable[..., Any], simulated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        sys.modules, "tensorboard.compat.notf", types.ModuleType("notf")
    )  # else its reader loads TensorFlow
    history = simulated(small(2), [TensorBoardLogger(tmp_path, clients=True)]).run()
    found = scalars(tmp_path / "blobs-1")
    assert found["accuracy/federated"] == [(round_, single(value)) for round_, value in history.series("accuracy")]
    assert found["loss/1"] == [(round_, single(value)) for round_, value in history.series("loss", "1")]
    trained = [entry for entry in history.entries if entry.work == "train"]
    assert found["clients/loss/train/0"] == [
        (entry.round, single(entry.outcomes["0"].metrics.value("loss"))) for entry in trained
    ]
    logger = TensorBoardLogger(tmp_path)
    run = simulated(small(1))
    logger.started(run)  # a run that goes on writes a file more
    logger.entry(run, odd_entry())
    assert math.isnan(scalars(tmp_path / "blobs-1")["loss/train"][-1][1]), "flushed before the end"
    logger.ended(run)
    assert len(list((tmp_path / "blobs-1").iterdir())) == 2


def test_a_runs_id_leads_nowhere_else(tmp_path: Path, small: Callable[..., Any], simulated: Any) -> None:
    run = simulated(small(1), [TensorBoardLogger(tmp_path / "inner")])
    run.id = "../../outside"
    run.run()
    assert [each.name for each in tmp_path.iterdir()] == ["inner"]
    assert len(list((tmp_path / "inner").iterdir())) == 1


WITHOUT_TENSORFLOW = """
import sys, warnings
from hansa.callbacks import TensorBoardLogger
class Run:
    id = "a"
logger = TensorBoardLogger(sys.argv[1])
logger.started(Run())
logger.ended(Run())
print([name for name in ("tensorflow", "torch", "mlflow", "matplotlib") if name in sys.modules])
"""


def test_tensorboard_is_written_without_tensorflow(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=True)
    assert ended.stdout == "[]\n"


# --- MLflow


@pytest.fixture
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store in files, which MLflow keeps for those who ask for it."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return f"file:{tmp_path / 'mlruns'}"


# MLflow says with a warning that its store in files is no longer developed.
@pytest.mark.filterwarnings("ignore:The filesystem tracking backend:FutureWarning", "ignore::DeprecationWarning")
def test_mlflow_has_the_parameters_the_metrics_and_the_model(
    tracking: str, tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    from mlflow import MlflowClient

    from hansa.experiment import load_results

    experiment = small(2)
    history = simulated(experiment, [MlflowLogger(experiment, tracking=tracking, clients=True)]).run()
    client = MlflowClient(tracking_uri=tracking)
    found = client.get_experiment_by_name("hansa")
    assert found is not None
    (run,) = client.search_runs([found.experiment_id])
    assert (run.info.status, run.info.run_name, run.data.tags["hansa.run"]) == ("FINISHED", "blobs", "blobs-1")
    assert run.data.params["seed"] == "3"
    assert run.data.params["algorithm.inner.local.optimizer.learning_rate"] == "0.1"
    logged = client.get_metric_history(run.info.run_id, "accuracy/federated")
    assert sorted((each.step, each.value) for each in logged) == history.series("accuracy")
    assert client.get_metric_history(run.info.run_id, "clients/loss/train/2")
    folder = client.download_artifacts(run.info.run_id, "", str(tmp_path))
    assert load_results(Path(folder)).to_json() == history.to_json()


@pytest.mark.filterwarnings("ignore:The filesystem tracking backend:FutureWarning", "ignore::DeprecationWarning")
def test_mlflow_hears_of_a_run_that_failed(
    tracking: str, small: Callable[..., Any], simulated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    logger = MlflowLogger(tracking=tracking, experiment="odd", artifacts=False, clients=True)
    run = simulated(small(1))
    logger.started(run)
    logger.entry(run, odd_entry())
    run.failure = "the roof leaks"
    logger.ended(run)
    logger.ended(run)  # harmless
    client = MlflowClient(tracking_uri=tracking)
    made = client.get_experiment_by_name("odd")
    assert made is not None
    (found,) = client.search_runs([made.experiment_id])
    assert (found.info.status, found.data.tags["hansa.failure"]) == ("FAILED", "the roof leaks")
    assert set(found.data.metrics) >= {"loss/train", "a _quoted__ one/train"}


def test_a_store_that_cannot_be_used_stops_the_run_before_it_began(
    small: Callable[..., Any], simulated: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(ConfigError, match="MLflow cannot be used") as caught:
        simulated(small(1), [MlflowLogger(tracking=f"file:{tmp_path / 'mlruns'}")]).run()
    assert "MLFLOW_ALLOW_FILE_STORE=true" in caught.value.hint


def test_parameters_are_named_by_their_path(small: Callable[..., Any]) -> None:
    found = parameters(small(2))
    assert found["name"] == "blobs"
    assert found["algorithm"] == "Evaluated"
    assert found["algorithm.inner.rounds"] == "2"
    assert found["algorithm.inner.server.momentum"] == "0.5"
    assert parameters({"rate": 0.1, "layers": (5, 3), "off": None}) == {
        "rate": "0.1",
        "layers.0": "5",
        "layers.1": "3",
        "off": "None",
    }


# --- without the extras


@pytest.mark.parametrize(
    ("package", "logger"), [("tensorboard", "TensorBoardLogger('x')"), ("mlflow", "MlflowLogger()")]
)
def test_a_missing_extra_is_named(package: str, logger: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
from hansa import callbacks
try:
    callbacks.{logger}.started(None)
except ImportError as error:
    print(error)
"""
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=True).stdout
    assert f"needs {package}, which is not installed" in said
    assert f'pip install "hansa[{package}]"' in said
