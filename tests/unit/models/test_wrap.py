"""wrap_model: which adapter an object gets, from Hansa or from an installed distribution; what is said where there is none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
import xgboost
from flax import linen, nnx
from sklearn.linear_model import SGDClassifier
from torch.nn.functional import cross_entropy

from hansa.core.keys import key
from hansa.errors import ConfigError, UnknownName
from hansa.models.flax import FlaxModel
from hansa.models.keras import KerasModel
from hansa.models.sklearn import SklearnModel
from hansa.models.torch import TorchModel
from hansa.models.wrap import wrap_model
from hansa.models.xgboost import XGBoostModel


class OfTheUser(torch.nn.Linear):
    """A class outside of the framework's package, as almost all are."""


def test_every_framework_s_object_gets_its_adapter() -> None:
    keras_model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    wrapped = {
        TorchModel: wrap_model(OfTheUser(4, 3), cross_entropy, target="label"),
        FlaxModel: wrap_model(nnx.Linear(4, 3, rngs=nnx.Rngs(0)), lambda outputs, target: outputs.mean()),
        KerasModel: wrap_model(keras_model, "mse"),
        SklearnModel: wrap_model(SGDClassifier(loss="log_loss"), features=4, classes=3),
        XGBoostModel: wrap_model(xgboost.XGBClassifier(max_depth=3), features=4, classes=3),
    }
    assert [type(model) for model in wrapped.values()] == list(wrapped)
    made: Any = wrapped[TorchModel]
    assert made.target == "label"
    boosted: Any = wrapped[XGBoostModel]
    assert dict(boosted.params) == {"max_depth": 3}


def test_a_class_is_wrapped_as_what_makes_the_module() -> None:
    class Net(torch.nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 3)

    first, second = (wrap_model(Net, cross_entropy).init(key(seed))["weight"] for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_a_compiled_model_of_keras_brings_its_loss_along() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    wrapped = wrap_model(model)
    data = {"x": np.ones((2, 4), np.float32), "y": np.zeros((2, 1), np.float32)}
    loss, outputs = wrapped.predict(wrapped.load(wrapped.init(key(0)), "cpu"), data)
    assert loss == pytest.approx(float((outputs**2).mean()))


# --- what is wrong, where, and what to do


def test_a_missing_loss_and_an_unknown_option_are_named() -> None:
    with pytest.raises(ConfigError, match=r"adapter of torch cannot be made like this: missing .* 'loss'") as caught:
        wrap_model(torch.nn.Linear(4, 3))
    assert "wrap_model(native, loss=..., ...)" in caught.value.hint
    with pytest.raises(ConfigError, match="unexpected keyword argument 'lables'"):
        wrap_model(torch.nn.Linear(4, 3), cross_entropy, lables="y")


def test_an_object_that_nobody_knows_is_told_how_to_get_an_adapter() -> None:
    with pytest.raises(UnknownName, match="there is no adapter for objects of 'fractions, numbers'") as caught:
        wrap_model(Fraction(1, 2))
    assert "there are adapters for flax, keras, sklearn, torch, xgboost" in caught.value.hint
    assert '[project.entry-points."hansa.models"]' in caught.value.hint


@pytest.mark.parametrize("native", [lambda: None, 3, None])
def test_plain_python_has_no_adapter(native: Any) -> None:
    with pytest.raises(UnknownName, match="there is no adapter for objects of"):
        wrap_model(native)


def test_a_module_of_linen_is_sent_to_jax() -> None:
    with pytest.raises(ConfigError, match=r"this is one of flax\.linen"):
        wrap_model(linen.Dense(3), lambda outputs, target: outputs.mean())


def test_a_booster_of_xgboost_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="a Booster of XGBoost does not say how it is trained"):
        wrap_model(xgboost.Booster(), features=4)


# --- a distribution of somebody else's

TINY = """
import numpy

class Line:
    def __init__(self, size):
        self.weights = numpy.zeros(size, "float32")
"""

ADAPTER = """
from dataclasses import dataclass
from typing import Any
import numpy as np
from hansa.models import Gradient, Prediction

@dataclass(frozen=True)
class TinyModel:
    line: Any
    slope: float = 1.0
    buffers = frozenset()

    def init(self, key):
        return {"weights": self.line.weights.copy()}
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with two installed distributions: a framework, and its adapter."""
    for name, source in (("tinyframe", TINY), ("tinyadapter", ADAPTER)):
        (tmp_path / f"{name}.py").write_text(source)
    install(tmp_path, "tinyadapter", "tinyframe = tinyadapter:TinyModel")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("tinyframe", "tinyadapter"):
        sys.modules.pop(name, None)


def install(folder: Path, name: str, points: str) -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[hansa.models]\n{points}\n")


def imported(name: str) -> Any:
    return __import__(name)


def test_an_installed_adapter_is_found_by_its_entry_point(site: Path) -> None:
    tiny = imported("tinyframe")

    class Bent(tiny.Line):  # type: ignore[misc, name-defined]  # made in this test
        pass

    model: Any = wrap_model(Bent(3), slope=2.0)
    assert type(model).__name__ == "TinyModel"
    assert (model.slope, model.init(key(0))["weights"].tolist()) == (2.0, [0, 0, 0])
    with pytest.raises(UnknownName) as caught:
        wrap_model(Fraction(1))
    assert "there are adapters for flax, keras, sklearn, tinyframe, torch" in caught.value.hint


def test_a_framework_on_top_of_another_comes_first(site: Path) -> None:
    tiny = imported("tinyframe")
    on_torch = type("OnTorch", (torch.nn.Linear,), {"__module__": "tinyframe"})
    assert type(wrap_model(on_torch(4, 3))).__name__ == "TinyModel"
    assert type(wrap_model(type("Both", (torch.nn.Linear, tiny.Line), {})(4, 3), cross_entropy)) is TorchModel


def test_two_adapters_for_one_framework_are_not_chosen_between(site: Path) -> None:
    install(site, "otheradapter", "tinyframe = otheradapter:Model")
    with pytest.raises(
        ConfigError, match="several distributions have an adapter for 'tinyframe': otheradapter:Model, tiny"
    ):
        wrap_model(imported("tinyframe").Line(3))


def test_looking_for_an_adapter_loads_no_framework() -> None:
    program = """
import sys
from hansa.models.wrap import wrap_model
try:
    wrap_model(object())
except ValueError:
    pass
print([name for name in ("torch", "jax", "keras", "sklearn", "xgboost", "tensorflow") if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
