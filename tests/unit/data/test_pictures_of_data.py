"""How data look: examples as a model sees them, who holds which classes, and tables in a notebook."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from hansa.data import ClientDataset, FederatedData
from hansa.errors import ConfigError, DataError, UnknownName

IMAGES = ClientDataset({"x": np.arange(5 * 64).reshape(5, 1, 8, 8).astype(np.float32), "y": [0, 1, 2, 1, 0]})
TABLE = ClientDataset(
    {
        "age": np.array([39.5, 28.0]),
        "job": ["<b>clerk</b>", "$mith"],
        "x": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        "tokens": np.arange(40).reshape(2, 20),
        "y": [0, 1],
    }
)


def captions(figure: Figure) -> list[str]:
    return [axes.get_xlabel() for axes in figure.axes]


def cells(figure: Figure, columns: int) -> list[list[str]]:
    texts = [text.get_text().replace(r"\$", "$") for text in figure.axes[0].texts]
    return [texts[begin : begin + columns] for begin in range(0, len(texts), columns)]


def test_images_are_shown_with_their_labels() -> None:
    assert captions(IMAGES.plot()) == ["0", "1", "2", "1", "0"]
    assert captions(IMAGES.plot(2, classes=["cat", "dog", "eel"])) == ["cat", "dog"]
    assert captions(IMAGES.plot(1, target="none")) == [""]


def test_examples_are_shown_as_a_model_sees_them() -> None:
    upside_down = IMAGES.with_transform(lambda batch: {**batch, "x": batch["x"][..., ::-1, :], "y": batch["y"] + 5})
    figure = upside_down.plot(1)
    assert captions(figure) == ["5"]
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert shown[0, 0] > shown[-1, 0]


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 1, 8, 8)])
def test_masks_lie_over_their_images(shape: tuple[int, ...]) -> None:
    figure = ClientDataset({"x": np.zeros((2, 3, 8, 8)), "y": np.ones(shape, np.int64)}).plot()
    assert [len(axes.images) for axes in figure.axes] == [2, 2]


def test_what_is_no_image_is_a_table_with_the_target_last() -> None:
    heading, first, second = cells(TABLE.plot(classes=["no", "yes"]), 7)
    assert heading == ["age", "job", "x[0]", "x[1]", "x[2]", "tokens", "y"]
    assert first == ["39.5", "<b>clerk</b>", "1", "2", "3", "[0 1 2 3 4 5 …]", "no"]
    assert second == ["28", "$mith", "4", "5", "6", "[20 21 22 23 24 25 …]", "yes"]


def test_columns_may_be_named_and_make_a_table_of_images_too() -> None:
    assert cells(TABLE.plot(1, columns=["y", "x[1]"]), 2) == [["x[1]", "y"], ["2", "0"]]
    assert cells(TABLE.plot(1, columns=["x"]), 3)[0] == ["x[0]", "x[1]", "x[2]"]
    assert cells(IMAGES.plot(2, columns=["x[9]", "y"]), 2) == [["x[9]", "y"], ["9", "0"], ["73", "1"]]
    with pytest.raises(UnknownName, match="there is no column 'agee'"):
        TABLE.plot(columns=["agee"])


def test_nothing_to_show_is_an_error() -> None:
    with pytest.raises(DataError, match="there are no examples to show"):
        IMAGES.take(0).plot()
    with pytest.raises(ConfigError, match="at least one example, not 0"):
        IMAGES.plot(0)


# --- who holds what


def federated(**more: Any) -> FederatedData:
    return FederatedData({"alice": IMAGES, "bob": IMAGES.select([1, 3])}, {"carol": IMAGES.take(1)}, **more)


def test_labels_are_counted_for_every_client() -> None:
    above, below = federated().plot_labels(classes=["a", "b", "c"]).axes
    bars: Any = above.patches
    assert [bar.get_height() for bar in bars] == [5, 2]
    shown: Any = below.images[0].get_array()
    assert np.ma.filled(shown, 0).tolist() == [[2, 0], [2, 2], [1, 0]]
    assert [tick.get_text() for tick in below.get_xticklabels()] == ["alice", "bob"]
    assert [tick.get_text() for tick in below.get_yticklabels()] == ["a", "b", "c"]
    tested: Any = federated().plot_labels("test").axes[0].patches
    assert [bar.get_height() for bar in tested] == [1]


def test_labels_that_cannot_be_counted_are_an_error() -> None:
    with pytest.raises(ConfigError, match="there are 3 classes and 2 names for them"):
        federated().plot_labels(classes=["a", "b"])
    with pytest.raises(DataError, match="one whole number an example"):
        federated().plot_labels(field="x")
    with pytest.raises(UnknownName, match="there is no split 'trian'"):
        federated().plot_labels("trian")
    with pytest.raises(DataError, match="nobody holds examples in the split 'test'"):
        FederatedData({"alice": IMAGES}).plot_labels("test")


# --- in a notebook


def test_a_data_set_is_a_table_of_its_fields() -> None:
    def never(batch: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError("a repr reads no batch")

    html = TABLE.with_transform(never)._repr_html_()
    assert "ClientDataset: 2 examples" in html
    assert "&lt;b&gt;clerk&lt;/b&gt;, &#36;mith" in html
    assert "<script" not in html


def test_a_federation_is_a_table_of_its_clients_and_loads_nothing_for_it() -> None:
    class Lazy(dict[str, ClientDataset]):
        def __getitem__(self, client: str) -> ClientDataset:
            loads.append(client)
            return super().__getitem__(client)

    loads: list[str] = []
    data = FederatedData(Lazy({f"<i>{number}": IMAGES for number in range(30)}), {"carol": IMAGES})
    html = data._repr_html_()
    assert loads == []
    assert "30 clients to train, 1 with test data" in html
    assert "&lt;i&gt;0" in html
    assert "<i>" not in html
    assert "and 11 clients more" in html
    assert ">yes<" in html
    data.sizes("train")
    assert len(loads) == 30
    assert ">5<" in data._repr_html_()
