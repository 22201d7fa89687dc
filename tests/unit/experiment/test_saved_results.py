"""Results as files: the model's name is its sha256, and the History comes back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hansa.algorithms import Evaluated, FedAvg
from hansa.core.history import History
from hansa.errors import InputError
from hansa.experiment import Experiment, load_model, load_results, save_results
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.protocol import codec
from hansa.testing import blobs
from hansa.training import SGD, Evaluation, LocalTraining, confusion_matrix

MODEL = NumpyMLP((5, 4, 3))


def history() -> History:
    evaluation = Evaluation(MODEL, {"confusion": confusion_matrix})
    algorithm = Evaluated(FedAvg(LocalTraining(MODEL, SGD(0.1), epochs=1), 2), evaluation, owners=True)
    return Federation.simulate(blobs(2)).run(Experiment(MODEL, algorithm, seed=3)).history


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    run, folder = history(), tmp_path / "deep" / "er"
    save_results(run, folder)
    back = load_results(folder)
    assert back.to_json() == run.to_json()
    assert back.model.keys() == run.model.keys()
    for name, leaf in run.model.items():
        assert (back.model[name].dtype, back.model[name].tobytes()) == (leaf.dtype, leaf.tobytes())
    assert back.series("loss") == run.series("loss")
    assert back.series("confusion", "1") == run.series("confusion", "1")
    assert back.table() == run.table()
    assert sorted(path.name for path in folder.iterdir()) == ["history.json", "model.safetensors"]


def test_the_model_s_digest_is_the_sha256_of_its_file(tmp_path: Path) -> None:
    run = history()
    save_results(run, tmp_path)
    assert hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest() == codec.digest(run.model)
    assert codec.digest(load_model(tmp_path / "model.safetensors")) == codec.digest(run.model)


def test_saving_again_replaces_what_was_there(tmp_path: Path) -> None:
    save_results(history(), tmp_path)
    save_results(History(model={"w": np.ones(2)}), tmp_path)
    assert load_results(tmp_path).entries == ()
    assert list(load_results(tmp_path).model) == ["w"]


def test_files_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file") as caught:
        load_results(tmp_path)
    assert str(tmp_path / "model.safetensors") in str(caught.value)
    save_results(history(), tmp_path)
    (tmp_path / "history.json").unlink()
    with pytest.raises(InputError, match="no History, or it is damaged") as caught:
        load_results(tmp_path)
    assert str(tmp_path / "history.json") in str(caught.value)


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    save_results(history(), tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged") as caught:
        load_model(path)
    assert f"where: {path}" in str(caught.value)
    assert caught.value.hint


def changed(data: dict[str, Any], change: str) -> Any:
    if change == "a list":
        return [data]
    if change == "no entries":
        del data["entries"]
    elif change == "entries that are text":
        data["entries"] = ["x"]
    elif change == "an unknown status":
        next(iter(data["entries"][1]["outcomes"].values()))["status"] = "lost"
    elif change == "an unknown metric":
        data["entries"][0]["metrics"]["loss"]["kind"] = "median"
    elif change == "settings that are a list":
        data["entries"][0]["settings"] = []
    elif change == "metrics that are a list":
        data["entries"][0]["metrics"] = []
    elif change == "a fraction over zero":
        data["entries"][0]["metrics"]["loss"]["total"] = "1/0"
    return data


@pytest.mark.parametrize(
    "change",
    [
        "a list",
        "no entries",
        "entries that are text",
        "an unknown status",
        "an unknown metric",
        "settings that are a list",
        "metrics that are a list",
        "a fraction over zero",
    ],
)
def test_a_damaged_history_is_an_input_error_that_names_the_file(tmp_path: Path, change: str) -> None:
    save_results(history(), tmp_path)
    path = tmp_path / "history.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()), change)))
    with pytest.raises(InputError) as caught:
        load_results(tmp_path)
    assert str(path) in str(caught.value)


def test_half_a_history_is_an_input_error(tmp_path: Path) -> None:
    save_results(history(), tmp_path)
    path = tmp_path / "history.json"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="no History, or it is damaged"):
        load_results(tmp_path)


def test_a_run_that_measured_nan_can_be_saved(tmp_path: Path) -> None:
    broken = {name: np.full_like(leaf, np.nan) for name, leaf in history().model.items()}
    algorithm = Evaluated(FedAvg(LocalTraining(MODEL, SGD(0.1), epochs=1), 0), Evaluation(MODEL))
    with np.errstate(all="ignore"):
        try:
            run = Federation.simulate(blobs(2)).run(Experiment(MODEL, algorithm, initial=broken)).history
        except Exception as failure:  # noqa: BLE001 - whichever way it ends, it left a History
            run = failure.history  # type: ignore[attr-defined]  # a RunFailed
    assert np.isnan(run.entries[0].metrics.value("loss"))
    save_results(run, tmp_path)
    assert np.isnan(load_results(tmp_path).entries[0].metrics.value("loss"))
