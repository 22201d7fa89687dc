"""Hugging Face data sets by the owners of their rows; the library itself is an extra, and is never imported by Hansa."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from hansa.data import ClientDataset, FederatedData
from hansa.errors import ConfigError, DataError, UnknownName


def library() -> Any:
    return pytest.importorskip("datasets", reason='the library is not installed: pip install "hansa[datasets]"')


def rows(count: int = 12) -> Any:
    return library().Dataset.from_dict(
        {
            "pixels": [[float(number), float(number + 1)] for number in range(count)],
            "label": [number % 3 for number in range(count)],
            "writer_id": [f"w{number % 4}" for number in range(count)],
        }
    )


def test_rows_are_their_owners() -> None:
    data = FederatedData.from_datasets(rows(), "writer_id", columns={"pixels": "x", "label": "y"}, test=rows(2))
    assert data.clients == ("w0", "w1", "w2", "w3")
    assert list(data.test) == ["w0", "w1"]
    assert data["w1"].names == ("x", "y")
    assert data["w1"]["y"].tolist() == [1, 2, 0]
    assert data["w1"]["x"].tolist() == [[1, 2], [5, 6], [9, 10]]
    assert data.shard("w0").keys() == {"train", "test"}
    every = FederatedData.from_datasets(rows(), "writer_id")
    assert every["w3"].names == ("pixels", "label")


def test_what_was_selected_and_shuffled_before_counts() -> None:
    chosen = rows().shuffle(seed=1).select(range(5))
    data = FederatedData.from_datasets(chosen, "writer_id")
    assert sum(data.sizes().values()) == 5
    for client, dataset in data.items():
        expected = [row["label"] for row in chosen if row["writer_id"] == client]
        assert dataset["label"].tolist() == expected


def test_owners_may_be_numbers() -> None:
    numbered = rows().remove_columns("writer_id").add_column("owner", [10, 9, 2] * 4)
    assert FederatedData.from_datasets(numbered, "owner").clients == ("2", "9", "10")


def test_no_picture_is_decoded_before_its_client_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = library()
    pytest.importorskip("PIL.Image", reason="pictures need pillow")
    pictures = [np.full((4, 4), number, np.uint8) for number in range(6)]
    features = datasets.Features({"image": datasets.Image(), "writer_id": datasets.Value("string")})
    drawn = datasets.Dataset.from_dict({"image": pictures, "writer_id": list("aabbcc")}, features=features)
    decoded: list[int] = []
    decode = datasets.Image.decode_example

    def spy(self: Any, *given: Any, **named: Any) -> Any:
        decoded.append(1)
        return decode(self, *given, **named)

    monkeypatch.setattr(datasets.Image, "decode_example", spy)
    data = FederatedData.from_datasets(drawn, "writer_id", columns={"image": "x"})
    assert data.sizes() == {"a": 2, "b": 2, "c": 2}
    assert decoded == []
    found: ClientDataset = data["b"]
    assert found["x"].shape == (2, 4, 4)
    assert found["x"].dtype == np.uint8
    assert found["x"][:, 0, 0].tolist() == [2, 3]
    assert len(decoded) == 2


def test_columns_that_make_no_sense() -> None:
    for owner, columns in (("writer", None), ("writer_id", {"image": "x"})):
        with pytest.raises(UnknownName, match="there is no column"):
            FederatedData.from_datasets(rows(), owner, columns=columns)
    with pytest.raises(ConfigError, match="needs a name of its own"):
        FederatedData.from_datasets(rows(), "writer_id", columns={"pixels": "x", "label": "x"})
    with pytest.raises(DataError, match="one value an example"):
        FederatedData.from_datasets(rows(), "pixels")
    uneven = library().Dataset.from_dict({"x": [[1], [1, 2]], "owner": [0, 0]})
    with pytest.raises(DataError) as caught:
        _ = FederatedData.from_datasets(uneven, "owner")["0"]
    assert "client '0'" in caught.value.where
    with pytest.raises(ConfigError, match=r"expected a datasets\.Dataset, found DatasetDict"):
        FederatedData.from_datasets(library().DatasetDict({"train": rows()}), "writer_id")


def test_something_else_is_refused_without_the_library() -> None:
    with pytest.raises(ConfigError, match=r"expected a datasets\.Dataset, found dict") as caught:
        FederatedData.from_datasets({"x": [1]}, "owner")
    assert 'split="train"' in caught.value.hint


def test_hansa_does_not_import_the_library() -> None:
    program = "import sys, hansa; hansa.FederatedData; assert 'datasets' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
