"""`hansa demo --json`: one document with everything in it, the same whenever it is repeated; and what wrong usage gets."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Ended, Shell

OWN = {"alice": "0-3", "bob": "4-6", "charlie": "7-9"}
ROUNDS = "--rounds", "2"


def parsed(text: str) -> Any:
    """What strict readers of JSON see: they know no NaN and no Infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def ended(shell: Shell) -> Ended:
    return shell.hansa("demo", *ROUNDS, "--json", PYTHONHASHSEED="1", OMP_NUM_THREADS="1")


@pytest.fixture(scope="module")
def document(ended: Ended) -> Any:
    return parsed(ended.out)


def test_prints_one_json_document_and_nothing_else(ended: Ended) -> None:
    assert (ended.code, ended.err) == (0, "")
    assert isinstance(parsed(ended.out), dict)


def test_the_document_says_what_was_run_and_what_came_of_it(document: Any) -> None:
    assert {"accuracy", "model_sha256", "evaluations", "alone", "pooled", "seconds", "mode"} <= document.keys()
    assert (document["dataset"], document["rounds"], document["seed"], document["mode"]) == (
        "digits",
        2,
        0,
        "reference",
    )
    assert re.fullmatch("[0-9a-f]{64}", document["model_sha256"])
    assert document["seconds"] > 0


def test_every_owners_model_and_the_federated_one_are_evaluated_in_the_first_and_in_the_last_round(
    document: Any,
) -> None:
    models = [(each["round"], each["model"]) for each in document["evaluations"]]
    assert models == [(number, model) for number in (1, 2) for model in (*OWN, "federated")]
    assert all({"round", "model", "loss", "accuracy", "shares"} == each.keys() for each in document["evaluations"])
    assert document["evaluations"][-1]["accuracy"] == document["accuracy"]


def test_every_measured_model_has_a_loss_an_accuracy_and_shares_that_make_a_whole(document: Any) -> None:
    measured = [*document["evaluations"], *document["alone"].values(), document["pooled"]]
    assert list(document["alone"]) == list(OWN)
    for each in measured:
        assert each["loss"] > 0
        assert math.isfinite(each["loss"])
        assert 0 <= each["accuracy"] <= 1
        assert list(each["shares"]) == list(OWN.values())
        assert sum(each["shares"].values()) == pytest.approx(1, abs=1e-9)


def test_after_a_round_each_owners_own_model_knows_its_own_digits_only(document: Any) -> None:
    first = {each["model"]: each["shares"] for each in document["evaluations"] if each["round"] == 1}
    assert {owner: first[owner][group] for owner, group in OWN.items()} == dict.fromkeys(OWN, 1.0)
    assert max(first["federated"].values()) < 1


def test_each_owner_alone_never_learns_of_the_others_digits(document: Any) -> None:
    assert {owner: document["alone"][owner]["shares"][group] for owner, group in OWN.items()} == dict.fromkeys(OWN, 1.0)


def test_what_every_owner_holds_is_in_the_document(document: Any) -> None:
    held = {owner: sum(counts.values()) for owner, counts in document["owners"].items()}
    assert held == {"alice": 576, "bob": 436, "charlie": 426}
    assert [label for counts in document["owners"].values() for label in counts] == list("0123456789")


def test_the_real_federation_and_the_simulated_one_give_the_same_bits(
    document: Any, shell: Shell, tmp_path: Path
) -> None:
    variables = {"PYTHONHASHSEED": "2", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    again = parsed(shell.hansa("demo", "--simulate", *ROUNDS, "--json", cwd=tmp_path, **variables).out)
    for same in ("model_sha256", "evaluations", "alone", "pooled", "accuracy"):
        assert again[same] == document[same], same
    where = {name: again["environment"].get(name) for name in document["environment"]}
    assert where == document["environment"]  # the simulator also says how it computed, which changes no bit


@pytest.mark.thorough
def test_another_seed_gives_another_model(document: Any, shell: Shell) -> None:
    other = parsed(shell.hansa("demo", "--simulate", *ROUNDS, "--seed", "1", "--json").out)
    assert other["seed"] == 1
    assert other["model_sha256"] != document["model_sha256"]


def test_an_unknown_data_set_is_wrong_usage_and_the_choices_are_listed(shell: Shell) -> None:
    ended = shell.hansa("demo", "--dataset", "kmnist")
    assert (ended.code, ended.out) == (2, "")
    assert all(name in ended.err for name in ("kmnist", "digits", "mnist", "fashion_mnist"))


def test_less_than_one_round_is_wrong_usage(shell: Shell) -> None:
    ended = shell.hansa("demo", "--rounds", "0")
    assert (ended.code, ended.out) == (2, "")
    assert "--rounds" in ended.err


def test_results_cannot_be_written_into_a_file(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    ended = shell.hansa("demo", "--out", tmp_path / "taken")
    assert (ended.code, ended.out) == (2, "")
    assert "--out" in ended.err
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_refused_before_anybody_trains(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = shell.hansa("demo", "--rounds", "1", "--out", tmp_path / "file" / "results")
    assert ended.code in (1, 2)
    assert "Traceback" not in ended.err
    assert "--out" in ended.err or str(tmp_path / "file") in ended.err
    assert "federated" not in ended.out


def test_data_that_are_nowhere_get_an_error_that_says_which_file_to_put_where(shell: Shell, tmp_path: Path) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    nobody = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    private = {"HANSA_DATA": str(data), "XDG_CACHE_HOME": str(cache), "HOME": str(tmp_path)}
    ended = shell.hansa("demo", "--dataset", "mnist", cwd=tmp_path, **nobody, **private, NO_PROXY="", no_proxy="")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: train-images-idx3-ubyte.gz is not on this machine")
    assert "https://" in ended.err
    assert "set HANSA_DATA to a folder that holds mnist/train-images-idx3-ubyte.gz" in ended.err
    places = re.search(r"put it into (\S+);", ended.err)
    assert places is not None
    assert Path(places[1]).is_relative_to(tmp_path)
    assert "Traceback" not in ended.err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_truncated_data_file_gets_an_error_that_names_it(shell: Shell, tmp_path: Path, real_data: Path) -> None:
    folder = tmp_path / "mnist"
    folder.mkdir()
    for file in real_data.joinpath("mnist").glob("*-ubyte.gz"):
        folder.joinpath(file.name).symlink_to(file)
    broken = folder / "train-labels-idx1-ubyte.gz"
    content = broken.read_bytes()
    broken.unlink()
    broken.write_bytes(content[: len(content) // 2])
    ended = shell.hansa("demo", "--dataset", "mnist", HANSA_DATA=str(tmp_path))
    assert (ended.code, ended.out) == (1, "")
    assert "train-labels-idx1-ubyte.gz is truncated or altered" in ended.err
    assert str(broken) in ended.err
    assert "Traceback" not in ended.err
