"""README and docs: their code runs, their links lead somewhere, and what a user may call is in them."""

from __future__ import annotations

import inspect
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hansa
from hansa.data.shards import announce

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PORTS = ["Model", "AggregationRule", "Executor", "Partitioner", "ClientSampler", "FederatedAlgorithm"]


def blocks(document: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def name(document: Path) -> str:
    return str(document.relative_to(ROOT))


def ran(document: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that a document's code defines, run from top to bottom as one module."""
    module = types.ModuleType("document")
    monkeypatch.setitem(sys.modules, "document", module)  # where dataclasses look for their module
    for number, block in enumerate(blocks(document), start=1):
        exec(compile(block, f"{name(document)}, block {number}", "exec"), module.__dict__)  # noqa: S102 - our own documents
    return module.__dict__


def test_no_document_has_code_that_is_not_run_below() -> None:
    assert {name(each) for each in DOCUMENTS if blocks(each)} == {
        "README.md",
        "docs/algorithms.md",
        "docs/asynchrony.md",
        "docs/bad_links.md",
        "docs/experiments.md",
        "docs/federation.md",
        "docs/frameworks.md",
        "docs/notebooks.md",
        "docs/scikit-learn.md",
        "docs/simulation.md",
        "docs/tasks.md",
        "docs/watching.md",
    }


def test_the_quickstart_in_the_readme_takes_at_most_twenty_lines_and_learns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (quickstart,) = blocks(ROOT / "README.md")
    assert sum(bool(line.strip()) for line in quickstart.splitlines()) <= 20
    history = ran(ROOT / "README.md", monkeypatch)["run"].history
    assert history.final("accuracy") > 0.9
    assert capsys.readouterr().out.strip() == history.table()


def test_scaffold_as_documented_beats_fedavg_on_unlike_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ran(ROOT / "docs" / "algorithms.md", monkeypatch)
    assert names["scaffold"].final("accuracy") > names["fedavg"].final("accuracy") > 0.8
    assert names["Largest"]().merge({"w": np.array([1.0])}, {"w": np.array([2.0])})["w"] == 2.0


def test_asynchrony_as_documented(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    histories = ran(ROOT / "docs" / "asynchrony.md", monkeypatch)["histories"]
    slow, quick = (history.reached("max accuracy", 0.9, "seconds") for history in histories.values())
    assert quick < slow / 2
    assert (tmp_path / "time-to-accuracy.svg").stat().st_size > 1000


def test_compression_as_documented_sends_a_sixteenth_and_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ran(ROOT / "docs" / "bad_links.md", monkeypatch)
    plain, small = names["plain"], names["small"]
    assert sum(entry.up for entry in small.entries) < sum(entry.up for entry in plain.entries) / 14
    trained = [history.entries[-1].metrics.value("loss") for history in (plain, small)]
    assert trained[1] < 1.5 * trained[0], "the loss on what is trained on"


def test_experiments_as_documented_learn_and_a_failed_run_keeps_a_good_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ran(ROOT / "docs" / "experiments.md", monkeypatch)
    assert [round_ for round_, _ in names["history"].series("accuracy")] == [0, 5, 10]
    assert names["history"].final("accuracy") > 0.9
    assert hansa.tree.not_finite(names["kept"]) is None
    assert hansa.load_results(tmp_path / "results").rounds == 10


def test_simulation_as_documented_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ran(ROOT / "docs" / "simulation.md", monkeypatch)
    assert names["exact"].history.rounds == names["fast"].history.rounds == names["same"].history.rounds == 3
    for name, leaf in names["exact"].model().items():
        assert np.allclose(leaf, names["fast"].model()[name], rtol=1e-3, atol=1e-5)


def test_tasks_as_documented_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ran(ROOT / "docs" / "tasks.md", monkeypatch)["momentum"].final("accuracy") > 0.9


def test_every_framework_as_documented_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ran(ROOT / "docs" / "frameworks.md", monkeypatch)
    accuracies = [value for name, value in names.items() if name.startswith("with_")]
    assert len(accuracies) > 3
    assert min(accuracies) > 0.8


def test_notebooks_as_documented_are_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    exported = ran(ROOT / "docs" / "notebooks.md", monkeypatch)["exported"]
    assert "experiment = " in exported.text
    assert exported.parts


def test_scikit_learn_as_documented_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ran(ROOT / "docs" / "scikit-learn.md", monkeypatch)
    assert names["by_itself"].final("accuracy") > 0.8


def test_watching_as_documented_goes_on_from_a_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert ran(ROOT / "docs" / "watching.md", monkeypatch)["resumed"].rounds == 4


def test_the_owners_class_as_documented_can_be_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = ran(ROOT / "docs" / "federation.md", monkeypatch)["Ward"]
    facts = announce(ward(), "alice")
    assert facts.clients == {"alice": {"train": 2}}


def test_the_example_is_the_experiment_of_the_readme() -> None:
    loaded = hansa.load_experiment(ROOT / "examples" / "quickstart" / "quickstart.py")
    (quickstart,) = blocks(ROOT / "README.md")
    for line in ("local = ", "algorithm = ", "data = ", "model = ", "experiment = "):
        (shown,) = [each for each in quickstart.splitlines() if each.startswith(line)]
        assert shown in loaded.path.read_text(encoding="utf-8").splitlines()
    assert len(loaded.data()) == 10


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_to_files_that_exist(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("port", PORTS)
def test_every_port_is_in_the_glossary(port: str) -> None:
    assert f"**{port}**" in (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")


def test_the_reference_has_a_row_for_every_public_name_that_says_what_its_docstring_says() -> None:
    rows = dict(
        re.findall(
            r"^\| `(\w+)` \| (.*) \|$", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    assert rows.keys() == set(hansa.__all__) - {"errors"}
    for each, shown in rows.items():
        if each != "Tree":  # an alias, which has no docstring of its own
            documented = inspect.getdoc(getattr(hansa, each))
            assert documented is not None
            assert shown == documented.splitlines()[0]


def test_the_homes_in_the_glossary_exist() -> None:
    homes = re.findall(r"`((?:[a-z]+/)*[a-z]+(?:\.py|/))`", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"))
    assert homes
    assert [home for home in homes if not (ROOT / "src" / "hansa" / home).exists()] == []
