"""`hansa run FILE`: what an experiment file may look like, and what is printed and left of a run that ends well."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hansa

if TYPE_CHECKING:
    from tests.integration.conftest import Shell

EXAMPLES = """\
import numpy as np
import hansa

generator = np.random.default_rng(7)
x = generator.normal(size=(160, 4)).astype(np.float32)
examples = hansa.ClientDataset({"x": x, "y": (x[:, 0] > 0).astype(np.int64)})
"""

DATA = """\
data = hansa.FederatedData(
    {"anna": examples.select(np.arange(0, 60)), "ben": examples.select(np.arange(60, 120))},
    {"judge": examples.select(np.arange(120, 160))},
)
"""

EXPERIMENT = """\
model = hansa.NumpyMLP((4, 8, 2))
local = hansa.LocalTraining(model, hansa.SGD(0.2), epochs=1)
algorithm = hansa.Evaluated(hansa.FedAvg(local, rounds=3), hansa.Evaluation(model))
experiment = hansa.Experiment(model, algorithm, seed=5, name="halves")
"""

GOOD = EXAMPLES + DATA + EXPERIMENT


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "study" / "halves.py"
    path.parent.mkdir()
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "results"


def indented(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.splitlines())


def test_a_good_file_gives_one_document_and_two_files(shell: Shell, file: Path, out: Path) -> None:
    file.write_text(GOOD)
    ended = shell.hansa("run", file, "--json", "--out", out)
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    assert sorted(path.name for path in out.iterdir()) == ["history.json", "model.safetensors"]
    assert document["model_sha256"] == hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    assert {**json.loads((out / "history.json").read_text()), "model_sha256": document["model_sha256"]} == document


def test_its_history_is_the_run_that_the_file_describes(shell: Shell, file: Path, out: Path) -> None:
    file.write_text(GOOD)
    assert shell.hansa("run", file, "--out", out).code == 0
    history = hansa.load_results(out)
    assert (history.rounds, history.seed, history.mode) == (3, 5, "reference")
    assert [number for number, _ in history.series("accuracy")] == [0, 1, 2, 3]
    assert history.final("accuracy") > history.series("accuracy")[0][1]
    assert [(e.round, list(e.outcomes)) for e in history.entries if e.work == "train"] == [
        (number, ["anna", "ben"]) for number in (1, 2, 3)
    ]


def test_people_see_a_line_for_every_step_and_the_models_hash(shell: Shell, file: Path) -> None:
    file.write_text(GOOD)
    ended = shell.hansa("run", file)
    assert (ended.code, ended.err) == (0, "")
    *steps, took, last = ended.out.splitlines()
    assert re.fullmatch(r"3 rounds in \d+\.\d s", took)
    assert [tuple(line.split()[:3]) for line in steps] == [
        ("round", "0", "evaluate"),
        *((("round", str(number), work)) for number in (1, 2, 3) for work in ("train", "evaluate")),
    ]
    assert all(re.search(r"accuracy [01]\.\d{4}$", line) for line in steps if "evaluate federated" in line)
    assert re.fullmatch("model sha256 [0-9a-f]{64}", last)
    assert "\x1b" not in ended.out


def test_data_may_be_a_function_which_gives_the_same_run(shell: Shell, file: Path) -> None:
    file.write_text(GOOD)
    with_value = shell.hansa("run", file).out
    file.write_text(f"import hansa\n{EXPERIMENT}\n\ndef data():\n{indented(EXAMPLES + DATA)}    return data\n")
    with_function = shell.hansa("run", file)
    assert with_function.code == 0, with_function.err
    assert with_function.out == with_value


def test_a_file_may_import_its_neighbours_wherever_it_is_run_from(shell: Shell, file: Path, tmp_path: Path) -> None:
    file.with_name("neighbour.py").write_text(EXAMPLES + DATA)
    file.write_text(f"import hansa\n{EXPERIMENT}\n\ndef data():\n    import neighbour\n    return neighbour.data\n")
    lazily = shell.hansa("run", file, cwd=tmp_path)
    file.write_text(f"import hansa\nfrom neighbour import data\n{EXPERIMENT}")
    at_once = shell.hansa("run", Path("halves.py"), cwd=file.parent)
    assert (lazily.code, at_once.code) == (0, 0), lazily.err + at_once.err
    assert lazily.out == at_once.out


def test_a_file_may_define_its_own_work(shell: Shell, file: Path) -> None:
    own = """\
from __future__ import annotations
from dataclasses import dataclass, field, replace

@dataclass(frozen=True)
class Halved:
    local: hansa.LocalTraining
    buffers: frozenset[str] = frozenset()

    def __call__(self, broadcast: hansa.Tree, context: hansa.ClientContext) -> hansa.Update:
        update = self.local(broadcast, context)
        return replace(update, tree={name: leaf / 2 for name, leaf in update.tree.items()})

algorithm = hansa.FedAvg(Halved(local), rounds=2)
experiment = hansa.Experiment(model, algorithm)
"""
    future, dataclasses, rest = own.split("\n", 2)
    file.write_text(f"{future}\n{dataclasses}\n{GOOD}\n{rest}")
    ended = shell.hansa("run", file, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["rounds"] == 2


def test_code_under_main_stays_out(shell: Shell, file: Path) -> None:
    file.write_text(GOOD + "\nif __name__ == '__main__':\n    raise SystemExit('not to be run')\n")
    assert shell.hansa("run", file).code == 0


def test_fast_mode_is_recorded(shell: Shell, file: Path) -> None:
    file.write_text(GOOD)
    ended = shell.hansa("run", file, "--json", "--fast")
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    assert (document["mode"], document["environment"]["threads"]) == ("fast", "any")
    assert (document["rounds"], document["seed"]) == (3, 5)


def test_ctrl_c_stops_a_run(shell: Shell, file: Path, out: Path) -> None:
    file.write_text(GOOD.replace("rounds=3", "rounds=1000000"))
    ended = shell.interrupted("run", file, "--out", out, once="round    1  evaluate")
    assert (ended.code, ended.err) == (130, "stopped\n")
    assert list(out.glob("*")) == []
