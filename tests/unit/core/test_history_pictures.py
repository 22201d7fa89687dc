"""How a History looks: lines by round, and a table in a notebook."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from hansa.core.history import FEDERATED, Entry, History
from hansa.core.metrics import Mean, Metrics
from hansa.errors import ConfigError, UnknownName


def evaluation(round_: int, model: str = FEDERATED, **values: float) -> Entry:
    metrics = Metrics({name: Mean.of(value) for name, value in values.items()})
    return Entry(round_, "evaluate", round_, {"model": model}, metrics, {})


def training(round_: int, loss: float) -> Entry:
    return Entry(round_, "train", round_, {}, Metrics({"loss": Mean.of(loss), "steps": Mean.of(7.0)}), {})


HISTORY = History(
    (
        evaluation(0, accuracy=0.1, loss=2.0),
        training(1, 1.5),
        evaluation(1, "alice", accuracy=0.3),
        evaluation(1, "bob", accuracy=math.nan),
        evaluation(1, accuracy=0.5, loss=1.0),
    ),
    rounds=1,
)


def seen(figure: Figure) -> dict[str, list[list[list[float]]]]:
    """The points of each panel's lines, the faint ones first."""
    return {axes.get_ylabel(): [np.asarray(line.get_xydata()).tolist() for line in axes.lines] for axes in figure.axes}


def test_everything_that_was_evaluated_has_a_panel() -> None:
    figure = HISTORY.plot()
    assert list(seen(figure)) == ["accuracy", "loss"]
    assert seen(figure)["loss"] == [[[0, 2.0], [1, 1.0]]]
    assert seen(figure)["accuracy"][0] == [[1, 0.3]]
    assert seen(figure)["accuracy"][-1] == [[0, 0.1], [1, 0.5]]
    widths = [line.get_linewidth() for line in figure.axes[0].lines]
    assert widths[-1] > max(widths[:-1]), "the federated model is bold"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["federated", "alice", "bob"]


def test_metrics_and_models_may_be_chosen() -> None:
    assert seen(HISTORY.plot("loss")) == {"loss": [[[0, 2.0], [1, 1.0]]]}
    assert seen(HISTORY.plot("accuracy", model="alice")) == {"accuracy": [[[1, 0.3]]]}
    assert seen(HISTORY.plot("accuracy", model=["alice", FEDERATED]))["accuracy"] == [
        [[1, 0.3]],
        [[0, 0.1], [1, 0.5]],
    ]


def test_what_only_training_measured_is_drawn_as_its_work_reported_it() -> None:
    assert seen(HISTORY.plot("steps")) == {"steps": [[[1, 7.0]]]}
    assert seen(History((training(1, 2.0), training(2, 1.0))).plot("loss")) == {"loss": [[[1, 2.0], [2, 1.0]]]}


def test_what_was_never_measured_is_an_error() -> None:
    with pytest.raises(UnknownName, match="there is no metric 'f1'"):
        HISTORY.plot("f1")
    with pytest.raises(UnknownName, match="there is no evaluated model 'carol'"):
        HISTORY.plot(model="carol")
    with pytest.raises(ConfigError, match="nothing was evaluated, so there is nothing to plot"):
        History((training(1, 2.0),)).plot()


def test_a_notebook_shows_the_evaluations_escaped() -> None:
    history = HISTORY.extended(evaluation(2, "<script>", accuracy=0.9), {}, 2)
    html = history._repr_html_()
    assert "History of 2 rounds" in html
    assert ">0.5000<" in html
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "<table" not in History()._repr_html_()


def test_a_long_history_shows_its_beginning_and_its_end() -> None:
    history = History(tuple(evaluation(round_, accuracy=round_ / 100) for round_ in range(100)), rounds=99)
    html = history._repr_html_()
    assert html.count("<tr>") == 22
    assert "0.0900" in html
    assert "0.1000" not in html
    assert "0.8900" not in html
    assert "0.9000" in html
