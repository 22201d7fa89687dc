"""`hansa run FILE` when something is wrong: with the file, with its data, or with the training. Each says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import hansa

if TYPE_CHECKING:
    from tests.integration.conftest import Shell

DATA = """\
import numpy as np
import hansa

generator = np.random.default_rng(7)
x = generator.normal(size=(160, 4)).astype(np.float32)
y = (x[:, 0] > 0).astype(np.int64)
examples = hansa.ClientDataset({"x": x, "y": y})
parts = {"anna": examples.select(np.arange(0, 60)), "ben": examples.select(np.arange(60, 120))}
test = {"judge": examples.select(np.arange(120, 160))}
data = hansa.FederatedData(parts, test)
"""

EXPERIMENT = """\
model = hansa.NumpyMLP((4, 8, 2))
local = hansa.LocalTraining(model, hansa.SGD(0.2), epochs=1)
algorithm = hansa.Evaluated(hansa.FedAvg(local, rounds=3), hansa.Evaluation(model))
experiment = hansa.Experiment(model, algorithm, seed=5)
"""

GOOD = DATA + EXPERIMENT


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "study.py"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "results"


def assert_models_equal(one: hansa.Tree, other: hansa.Tree) -> None:
    assert one.keys() == other.keys()
    for name, leaf in one.items():
        np.testing.assert_array_equal(leaf, other[name], err_msg=name)


# --- the file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "an experiment file defines `experiment`, an Experiment; found nothing", id="nothing in it"),
        pytest.param("experiment = 3", "found int", id="another kind of thing"),
        pytest.param(f"import hansa\n{EXPERIMENT}", "the file defines nothing", id="no data"),
        pytest.param(f"{GOOD}data = [1]\n", "the file defines list", id="data of another kind"),
        pytest.param(f"{GOOD}data = lambda: 3\n", "int", id="a function that returns something else"),
    ],
)
def test_a_file_that_lacks_something_is_told_what_to_add(shell: Shell, file: Path, text: str, said: str) -> None:
    file.write_text(text)
    ended = shell.hansa("run", file)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: ")
    assert said in ended.err
    assert f"where: {file}" in ended.err
    assert "what to do: add, for example: " in ended.err
    assert "Traceback" not in ended.err


def test_a_file_that_is_not_there(shell: Shell, tmp_path: Path) -> None:
    ended = shell.hansa("run", tmp_path / "nowhere.py")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: there is no such experiment file")
    assert str(tmp_path / "nowhere.py") in ended.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("steps = 1 / 0", "ZeroDivisionError: division by zero"),
        ("import no_such_neighbour", "No module named 'no_such_neighbour'"),
        ("model = = 1", "SyntaxError: invalid syntax"),
        ("raise SystemExit(7)", "SystemExit: 7"),
    ],
)
def test_a_file_that_raises_shows_where_and_is_explained(shell: Shell, file: Path, line: str, said: str) -> None:
    file.write_text(f"import hansa\n{line}\n")
    ended = shell.hansa("run", file)
    assert (ended.code, ended.out) == (1, "")
    trace, message = ended.err.split("error: the experiment file raised ")
    assert f'File "{file}", line 2' in trace
    assert line in trace
    assert said in trace
    assert said in message
    assert f"where: {file}" in message


def test_a_setting_that_makes_no_sense_is_an_error_of_the_file_without_a_traceback(shell: Shell, file: Path) -> None:
    file.write_text(GOOD.replace("epochs=1", "epochs=0"))
    ended = shell.hansa("run", file)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: epochs is at least 1, not 0")
    assert str(file) in ended.err
    assert "Traceback" not in ended.err


def test_a_data_function_that_raises_is_explained_too(shell: Shell, file: Path) -> None:
    file.write_text(f"{GOOD}\n\ndef data():\n    return [][3]\n")
    ended = shell.hansa("run", file)
    assert (ended.code, ended.out) == (1, "")
    assert "return [][3]" in ended.err
    assert "error: " in ended.err
    assert f"where: {file}" in ended.err


def test_a_folder_that_cannot_be_made_is_refused_before_anybody_trains(shell: Shell, file: Path) -> None:
    file.write_text(GOOD)
    ended = shell.hansa("run", file, "--out", file / "results")
    assert ended.code in (1, 2)
    assert "Traceback" not in ended.err
    assert "round" not in ended.out


# --- the data


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param('parts["ben"] = examples.select(np.arange(0))\n', "no examples", id="none"),
        pytest.param("x[70] = np.nan\n", "NaN", id="NaN"),
        pytest.param("y[70] = 9\n", "9", id="a label out of range"),
        pytest.param(
            'parts["ben"] = hansa.ClientDataset({"x": x[60:120, :3], "y": y[60:120]})\n', "shape", id="another shape"
        ),
    ],
)
def test_bad_data_are_refused_with_the_name_of_their_owner(shell: Shell, file: Path, change: str, said: str) -> None:
    file.write_text(f"{DATA}{change}data = hansa.FederatedData(parts, test)\n{EXPERIMENT}")
    ended = shell.hansa("run", file)
    assert ended.code == 1
    _, message = ended.err.split("error: ")
    assert said in message
    assert "ben: failed: DataError: " in message or "where: client 'ben'" in message
    assert "anna: " not in message
    assert "Traceback" not in ended.err


def test_more_clients_than_there_are(shell: Shell, file: Path) -> None:
    file.write_text(GOOD.replace("rounds=3", "rounds=3, sampler=hansa.UniformSampler(5)"))
    ended = shell.hansa("run", file)
    assert ended.code == 1
    _, message = ended.err.split("error: ")
    assert "5" in message
    assert "2" in message
    assert "Traceback" not in ended.err


# --- the training


def test_a_run_that_diverges_at_once_names_the_round_and_the_clients_and_keeps_the_initial_model(
    shell: Shell, file: Path, out: Path
) -> None:
    file.write_text(GOOD.replace("SGD(0.2)", "SGD(1e30)"))
    ended = shell.hansa("run", file, "--json", "--out", out)
    assert (ended.code, ended.out) == (1, "")
    _, message = ended.err.split("error: ")
    for said in (
        "anna: rejected: ",
        "ben: rejected: ",
        "not finite",
        "loss = nan",
        "round 1",
        "lower the learning rate",
    ):
        assert said in message
    assert "Traceback" not in ended.err
    history = hansa.load_results(out)
    initial = hansa.load_experiment(file).experiment.start()
    assert_models_equal(history.model, initial)
    assert history.rounds == 0


def test_a_run_that_diverges_later_keeps_the_last_good_model_and_reports_the_failed_round(
    shell: Shell, file: Path, tmp_path: Path
) -> None:
    file.write_text(GOOD.replace("rounds=3", "rounds=2"))
    assert shell.hansa("run", file, "--out", tmp_path / "good").code == 0
    explode = "epochs=1, schedule=lambda number: 1.0 if number < 3 else 1e30"
    file.write_text(GOOD.replace("epochs=1", explode).replace("rounds=3", "rounds=9"))
    ended = shell.hansa("run", file, "--out", tmp_path / "bad")
    assert ended.code == 1
    assert "where: round 3, work 'train'" in ended.err
    good, bad = hansa.load_results(tmp_path / "good"), hansa.load_results(tmp_path / "bad")
    assert_models_equal(bad.model, good.model)
    assert bad.rounds == 2
    last = bad.entries[-1]
    assert (last.round, last.work) == (3, "train")
    assert {client: str(outcome.status) for client, outcome in last.outcomes.items()} == {
        "anna": "rejected",
        "ben": "rejected",
    }
    assert all("not finite" in outcome.why for outcome in last.outcomes.values())


def test_a_finite_model_whose_loss_is_nan_is_not_kept_as_the_last_good_one(shell: Shell, file: Path, out: Path) -> None:
    # One step leaves weights of about 1e30: finite, but twice multiplied they are infinite, and the loss is NaN.
    file.write_text(GOOD.replace("SGD(0.2)", "SGD(1e30)").replace("epochs=1", "steps=1"))
    ended = shell.hansa("run", file, "--out", out)
    assert ended.code == 1
    assert_models_equal(hansa.load_results(out).model, hansa.load_experiment(file).experiment.start())


def test_one_client_that_diverges_is_named_on_the_rounds_line_and_does_not_stop_the_others(
    shell: Shell, file: Path, out: Path
) -> None:
    file.write_text(GOOD.replace("y = (x", "x[60:120] *= 1e25\ny = (x"))
    ended = shell.hansa("run", file, "--out", out)
    assert ended.code == 0, ended.err
    trained = [line for line in ended.out.splitlines() if "  train  " in line]
    assert len(trained) == 3
    assert all(line.endswith("(ben rejected)") for line in trained)
    assert hansa.load_results(out).rounds == 3


def test_a_clients_own_code_that_raises_is_shown_and_the_client_is_named(shell: Shell, file: Path, out: Path) -> None:
    work = """\
class Fragile:
    buffers = frozenset()

    def __call__(self, broadcast, context):
        if context.id == "ben" and context.round == 2:
            raise RuntimeError("the disk is full")
        return local(broadcast, context)

experiment = hansa.Experiment(model, hansa.FedAvg(Fragile(), rounds=3))
"""
    file.write_text(GOOD + work)
    ended = shell.hansa("run", file, "--out", out)
    assert ended.code == 1
    trace, message = ended.err.split("error: ")
    assert 'raise RuntimeError("the disk is full")' in trace
    assert "ben: failed: RuntimeError: the disk is full" in message
    assert "where: round 2" in message
    history = json.loads((out / "history.json").read_text())
    assert (history["rounds"], history["entries"][-1]["round"]) == (1, 2)
    assert history["entries"][-1]["outcomes"]["ben"]["status"] == "failed"


def test_a_round_whose_weights_are_all_zero_is_reported(shell: Shell, file: Path, out: Path) -> None:
    work = """\
class Weightless:
    buffers = frozenset()

    def __call__(self, broadcast, context):
        return hansa.Update(local(broadcast, context).tree, weight=0.0 if context.round == 2 else 1.0)

experiment = hansa.Experiment(model, hansa.FedAvg(Weightless(), rounds=3))
"""
    file.write_text(GOOD + work)
    ended = shell.hansa("run", file, "--out", out)
    assert ended.code == 1
    assert "error: the weights of all 2 updates are zero" in ended.err
    assert "where: round 2" in ended.err
    history = hansa.load_results(out)
    assert (history.rounds, [entry.round for entry in history.entries]) == (1, [1, 2])
