"""A running notebook: IPython's shell in this process, its history, its magics, and what failed in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hansa.errors import ExperimentFileError
from hansa.experiment import load_experiment
from hansa.experiment.notebook import export_notebook
from hansa.federation import Federation
from hansa.testing import blobs

interactiveshell = pytest.importorskip("IPython.core.interactiveshell", reason="no IPython to run a notebook in")

Run = Callable[..., None]
EXPERIMENT = """local = hansa.LocalTraining(model, hansa.SGD(rate), epochs=1)
experiment = hansa.Experiment(model, hansa.FedAvg(local, rounds=1))"""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A shell whose history lies in memory, and whose files lie in the test's folder; nothing is left of it."""
    import builtins

    from traitlets.config import Config

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    hooks, modules, names = (sys.displayhook, sys.excepthook), set(sys.modules), set(vars(builtins))
    main, path = sys.modules["__main__"], list(sys.path)
    settings = Config({"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "nocolor"}})
    made = interactiveshell.InteractiveShell(config=settings)
    try:
        yield made
    finally:
        made.restore_sys_module_state()
        sys.displayhook, sys.excepthook = hooks
        sys.path[:], sys.modules["__main__"] = path, main
        for name in set(vars(builtins)) - names:
            delattr(builtins, name)
        for name in set(sys.modules) - modules:
            if name.startswith("neighbour"):
                del sys.modules[name]


@pytest.fixture
def run(shell: Any, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs cells in the shell, and holds them to succeed or to fail."""

    def cells(*texts: str, fails: bool = False) -> None:
        for text in texts:
            result = shell.run_cell(text, store_history=True)
            assert result.success is not fails, (text, result.error_before_exec, result.error_in_exec)
        capsys.readouterr()

    return cells


def exported(shell: Any, folder: Path) -> str:
    return export_notebook(shell=shell, folder=folder).text


def test_a_session_is_exported_and_runs_alone_with_the_same_bits(shell: Any, run: Run, tmp_path: Path) -> None:
    (tmp_path / "neighbour_shape.py").write_text("SIZES = (5, 3)\n")
    sys.path.insert(0, str(tmp_path))
    run(
        "import hansa, os\nimport neighbour_shape",
        "!true\nrate = 0.5",
        "%%time\nclass Net(hansa.NumpyMLP):\n    # ours\n    pass",
        "rate",
        "rate = 0.1\n%time model = Net(neighbour_shape.SIZES)",
        "%precision 3\nunused = os.getpid()",
        EXPERIMENT,
        "_ = 3\nprint(experiment)\nexperiment",
    )
    found = export_notebook(shell=shell, folder=tmp_path)
    assert found.modules == ("neighbour_shape",)
    assert [part.cell for part in found.parts] == [1, 1, 3, 5, 5, 7, 7]
    for absent in ("print", "os", "0.5", "unused", "%"):
        assert absent not in found.text
    (tmp_path / "experiment.py").write_text(found.text)
    loaded = load_experiment(tmp_path / "experiment.py")
    live = shell.user_ns["experiment"]
    models = [Federation.simulate(blobs(2)).run(each).history.model for each in (loaded.experiment, live)]
    assert {name: leaf.tobytes() for name, leaf in models[0].items()} == {
        name: leaf.tobytes() for name, leaf in models[1].items()
    }


def test_a_cell_that_was_mended_and_run_again_counts_as_it_ran_last(shell: Any, run: Run, tmp_path: Path) -> None:
    run("import hansa\nrate = 1.0\nmodel = hansa.NumpyMLP((5, 3))")
    run("rate = 0.1\nrate = boom()", fails=True)
    run("rate = 0.2 +", fails=True)
    run(EXPERIMENT)
    run("rate = 0.3", EXPERIMENT, EXPERIMENT)
    text = exported(shell, tmp_path)
    assert "rate = 0.3" in text
    assert text.count("rate = ") == text.count("experiment = ") == text.count("local = ") == 1


def test_what_stands_before_the_line_that_raised_counts(shell: Any, run: Run, tmp_path: Path) -> None:
    run("import hansa\nrate = 1.0")
    run(f"model = hansa.NumpyMLP((5, 3))\n{EXPERIMENT}\n\nboom(experiment)\nrate = 2.0", fails=True)
    text = exported(shell, tmp_path)
    assert "rate = 1.0" in text
    assert "boom" not in text
    run("def loop():\n    rates.append(1)\n    return boom()")
    run("rates = []\nloop()", fails=True)
    run("rate = 0.1 + len(rates)", EXPERIMENT)
    with pytest.raises(
        ExperimentFileError, match=r"`rates` is needed, and this raised NameError: nobody can tell"
    ) as caught:
        exported(shell, tmp_path)
    assert caught.value.where == "cell 4, line 2"


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("exec('def spread(x): return x')", "holds a function that came from elsewhere"),
        ("%%script true\nspread = 1", "cell 2 is left out: it begins with %%script"),
        ("get_ipython().push({'spread': [1]})", "holds a list that came from elsewhere"),
        ("get_ipython().push({'spread': (1,)})", ""),
        ("spread = !echo 1", "write the value of `spread` into a cell"),
    ],
)
def test_names_that_come_from_elsewhere_are_refused_or_written_down(
    shell: Any, run: Run, tmp_path: Path, cell: str, said: str
) -> None:
    run("import hansa\nrate = 0.1", cell, "if 'spread' not in dir():\n    pass\ndef late(round): return spread")
    run(
        "model = hansa.NumpyMLP((5, 3))\nscheduled = hansa.LocalTraining(model, hansa.SGD(rate), epochs=1, schedule=late)"
    )
    run("experiment = hansa.Experiment(model, hansa.FedAvg(scheduled, rounds=1))")
    if not said:
        assert "\nspread = (1,)\n" in exported(shell, tmp_path)
        return
    with pytest.raises(ExperimentFileError) as caught:
        exported(shell, tmp_path)
    assert "`spread` is needed" in caught.value.what
    assert said in caught.value.hint


def test_a_definition_that_a_cell_did_not_give_is_refused(shell: Any, run: Run, tmp_path: Path) -> None:
    run("import hansa, functools\nrate = 0.1\n", "def size(n):\n    return functools.reduce(max, [5, n])")
    run("model = hansa.NumpyMLP((size(1), 3))", EXPERIMENT)
    assert "def size(n):" in exported(shell, tmp_path)
    run("exec('def size(n): return n')")
    with pytest.raises(ExperimentFileError, match="the session's `size` is not the one that this cell gives") as caught:
        exported(shell, tmp_path)
    assert caught.value.where == "cell 2, line 1"


def test_top_level_await_is_refused_only_where_it_is_needed(shell: Any, run: Run, tmp_path: Path) -> None:
    run("import hansa, asyncio\nrate = 0.1\nmodel = hansa.NumpyMLP((5, 3))", "await asyncio.sleep(0)", EXPERIMENT)
    assert "await" not in exported(shell, tmp_path)
    run("async def ask(): return 0.2", "rate = await ask()", EXPERIMENT)
    with pytest.raises(ExperimentFileError, match="`rate` is needed, and it is made with `await`"):
        exported(shell, tmp_path)


def test_an_experiment_that_is_none_is_refused(shell: Any, run: Run, tmp_path: Path) -> None:
    run("experiment = 3")
    with pytest.raises(ExperimentFileError, match="`experiment` is a int, not an Experiment"):
        exported(shell, tmp_path)


def test_without_a_notebook_there_is_none_to_export() -> None:
    with pytest.raises(ExperimentFileError, match="no notebook is running here"):
        export_notebook()
