"""A light client: `hansa envoy start` with a model in NumPy, in a process that can import nothing of the extras.

`python -m benchmarks light` does the same from a fresh environment with nothing but `pip install hansa`, and takes the times.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WITHOUT = (
    *(
        "grpc",
        "torch",
        "torchvision",
        "jax",
        "flax",
        "optax",
        "keras",
        "tensorflow",
        "sklearn",
        "scipy",
        "xgboost",
        "ray",
    ),
    *("matplotlib", "PIL", "pandas", "pyarrow", "datasets", "tensorboard", "mlflow"),
)
"""What no light client has."""
NOT_IN_THE_ENVOY = ("numpy", "ml_dtypes", "safetensors")
"""What only its children need: the Envoy itself moves files."""

BLOCKED = """
import sys


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Blocked())
from hansa.cli import main

main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in /proc")
def test_an_envoy_with_numpy_is_light(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.light import measured

    code = BLOCKED.format(names={*WITHOUT, *NOT_IN_THE_ENVOY})
    taken = measured([sys.executable, "-c", code], tmp_path / "f", starts=0)
    assert taken.accuracy > 0.95
    assert taken.working < 120e6, "an Envoy and its Collaborator take more memory than a small device has for them"
    assert taken.idle < 80e6


def test_the_package_needs_no_extra() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {line.split(">")[0].lower().replace("-", "_") for line in project["dependencies"]}
    assert not {name.lower() for name in WITHOUT} & required
    assert {"numpy", "websockets", "cryptography", "protobuf"} <= required
