"""Reference mode: what it takes for the same numbers to come out bit for bit, and the record of what they depend on.

One thread wherever a work runs, because a parallel sum is split by the number of threads; memory aligned alike (the Model
adapters copy what enters a work); random choices by key. What cannot be fixed, the versions and the processor's vector
instructions, is recorded in the History.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

Mode = Literal["reference", "fast"]

RECORDED = (
    *("hansa", "numpy", "scipy", "safetensors", "ml_dtypes", "torch", "jax", "jaxlib", "flax", "optax"),
    *("keras", "tensorflow", "tensorflow-cpu", "scikit-learn", "xgboost", "xgboost-cpu"),
)
"""The packages whose versions a run's numbers may depend on."""


def threads(mode: Mode) -> AbstractContextManager[None]:
    """The context in which a mode computes."""
    return _one_thread() if mode == "reference" else nullcontext()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let BLAS, OpenMP and PyTorch, where it is loaded, use a single thread; put back what was set before."""
    torch: Any = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    with threadpool_limits(limits=1):
        try:
            if torch:
                torch.set_num_threads(1)
            yield
        finally:
            if torch:
                torch.set_num_threads(before)


def environment(mode: Mode) -> dict[str, str]:
    """What the numbers of a run depend on besides its experiment: versions, processor, threads."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    for package in RECORDED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    simd: Any = np.show_config(mode="dicts").get("SIMD Extensions", {})
    found["simd"] = " ".join(simd.get("found", []))
    found["threads"] = "1" if mode == "reference" else "any"
    return found
