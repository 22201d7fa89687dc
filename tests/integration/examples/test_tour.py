"""examples/tour: the notebook, run from top to bottom by a kernel of its own, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="no nbformat to read the notebook with")
nbclient = pytest.importorskip("nbclient", reason="no nbclient to run the notebook with")
pytest.importorskip("ipykernel", reason="no kernel to run the notebook in")

EXAMPLE = Path(__file__).parents[3] / "examples" / "tour"
PATIENCE = 300
"""Seconds after which a cell is taken to hang; it only ends tests that would never end."""

FEWER = {"constants": ("ROUNDS = 12", "ROUNDS = 6")}


@dataclass(frozen=True)
class Toured:
    """A notebook that was run.

    Attributes:
        notebook: with its outputs.
        temporary: where the processes' files were.
    """

    notebook: Any
    temporary: Path

    @property
    def cells(self) -> dict[str, Any]:
        return {cell.id: cell for cell in self.notebook.cells if cell.cell_type == "code"}

    def printed(self, cell: str) -> str:
        """What a cell printed."""
        outputs = self.cells[cell].outputs
        return "".join(each.text for each in outputs if each.output_type == "stream" and each.name == "stdout")

    def shown(self, cell: str, kind: str = "text/plain") -> str:
        """What a cell's last line is."""
        (found,) = (each.data for each in self.cells[cell].outputs if each.output_type == "execute_result")
        return str(found[kind])

    @property
    def pids(self) -> dict[str, int]:
        """The Director's and the Envoys'."""
        return {name: int(pid) for name, pid in (line.split() for line in self.printed("federation").splitlines())}


def toured(folder: Path, change: Callable[[Any], None]) -> Toured:
    """The notebook after a run by this very Python, in a copy of its folder, with everything of Jupyter's in `folder`."""
    place = shutil.copytree(EXAMPLE, folder / "tour", ignore=shutil.ignore_patterns("__pycache__"))
    notebook = nbformat.read(place / "tour.ipynb", as_version=4)
    change(notebook)
    kernel = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "tour"}
    spec = folder / "jupyter" / "kernels" / "tour" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({**kernel, "language": "python"}), encoding="utf-8")
    (temporary := folder / "temporary").mkdir()
    variables = {"JUPYTER_DATA_DIR": "jupyter", "JUPYTER_RUNTIME_DIR": "runtime", "JUPYTER_CONFIG_DIR": "config"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**variables, "IPYTHONDIR": "ipython", "TMPDIR": temporary.name}.items():
            patch.setenv(name, str(folder / value))
        client = nbclient.NotebookClient(
            notebook,
            kernel_name="tour",
            timeout=PATIENCE,
            resources={"metadata": {"path": str(place)}},
        )
        # However busy this machine is, the kernel may end by itself.
        client.config.KernelManager.shutdown_wait_time = PATIENCE
        asyncio.run(client.async_execute())
    return Toured(notebook, temporary)


def fewer_rounds(notebook: Any) -> None:
    for cell in notebook.cells:
        if cell.id in FEWER:
            old, new = FEWER[cell.id]
            assert cell.source.count(old) == 1
            cell.source = cell.source.replace(old, new)


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Toured:
    """All of it, with fewer rounds."""
    return toured(tmp_path_factory.mktemp("tour"), fewer_rounds)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(EXAMPLE / "tour.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) > 15
    assert [cell.id for cell in cells if cell.outputs or cell.execution_count is not None] == []


def test_no_cell_complains(tour: Toured) -> None:
    assert all(cell.execution_count for cell in tour.cells.values())
    kinds = {name: {each.get("name", each.output_type) for each in cell.outputs} for name, cell in tour.cells.items()}
    assert {name: found for name, found in kinds.items() if found - {"stdout", "execute_result"}} == {}


def test_the_real_federation_makes_the_simulated_model(tour: Toured) -> None:
    digests = {name: (here, there) for name, here, there in map(str.split, tour.printed("same").splitlines())}
    assert digests.keys() == {"best", "last"}
    for here, there in digests.values():
        assert here == there
        assert len(here) == 64
    rounds = [line.split()[:2] for line in tour.printed("run").splitlines()]
    assert [int(number) for number, work in rounds if work == "train"] == [1, 2, 3, 4, 5, 6]
    assert [int(number) for number, work in rounds if work == "evaluate"] == [0, 2, 4, 6]
    assert tour.shown("status") == "<finished after 6 of 6 rounds>"


def test_what_is_shipped_is_the_experiment_and_nothing_of_the_tour(tour: Toured) -> None:
    text = tour.printed("shipped")
    for needed in ("class Reader(nn.Module):", "def shifted(", "WIDTH = 16", "@hansa.task(train=True)", "experiment ="):
        assert needed in text
    for left in ("plot", "print", "simulat", "owners", "shards_of", "debug", "Federation", "atexit", "Path"):
        assert left not in text
    assert tour.printed("preview").splitlines() == ["shipped: experiment.py", "to: harbour, market, station - enough"]


def test_who_is_there(tour: Toured) -> None:
    assert tour.pids.keys() == {"director", "harbour", "market", "station"}
    for name in ("harbour", "market", "station"):
        assert f"<{name}: online" in tour.shown("connect")


def test_a_run_was_cancelled_early_and_resumed_to_its_end(tour: Toured) -> None:
    before, after = tour.printed("resume").splitlines()
    assert tour.shown("cancel") == before
    assert re.match("<cancelled after [2-5] of 6 rounds", before)
    assert after == "<finished after 6 of 6 rounds>"


@pytest.mark.parametrize("cell", ["labels", "images", "curve", "predictions"])
def test_a_picture_is_shown(tour: Toured, cell: str) -> None:
    assert len(tour.shown(cell, "image/png")) > 5_000


def test_no_process_and_no_file_is_left(tour: Toured) -> None:
    assert [name for name, pid in tour.pids.items() if alive(pid)] == []
    assert list(tour.temporary.glob("hansa-*")) == []


def test_nor_when_a_cell_fails(tmp_path: Path) -> None:
    seen = []

    def fail_then(notebook: Any) -> None:
        names = [cell.id for cell in notebook.cells]
        wanted = ("imports", "owners", "federation")
        notebook.cells = [notebook.cells[names.index(name)] for name in wanted]
        notebook.cells.append(nbformat.v4.new_code_cell("1 / 0"))
        seen.append(notebook)

    with pytest.raises(nbclient.exceptions.CellExecutionError, match="ZeroDivisionError"):
        toured(tmp_path, fail_then)
    pids = Toured(seen[0], tmp_path).pids
    assert len(pids) == 4
    assert [name for name, pid in pids.items() if alive(pid)] == []
    assert list((tmp_path / "temporary").glob("hansa-*")) == []
