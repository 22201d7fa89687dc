"""Reference mode: what it takes for the same numbers to come out bit for bit, and the record of what they depend on.

One thread wherever a work runs, because a parallel sum is split by the number of threads; memory aligned alike (the Model
adapters copy what enters a work); random choices by key. What cannot be fixed, the versions and the processor's vector
instructions, is recorded in the History.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal

from threadpoolctl import ThreadpoolController

Mode = Literal["reference", "fast"]

RECORDED = (
    *("hansa", "numpy", "scipy", "safetensors", "ml_dtypes", "torch", "jax", "jaxlib", "flax", "optax"),
    *("keras", "tensorflow", "tensorflow-cpu", "scikit-learn", "xgboost", "xgboost-cpu"),
)
"""The packages whose versions a run's numbers may depend on."""


ONE_THREAD: Mapping[str, str] = {
    "NPROC": "1",
    "PJRT_NPROC": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}
"""What XLA (JAX) and TensorFlow read in the environment when they first compute, and never again."""


_POOLED = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""What OpenMP and the libraries of linear algebra read when they are loaded; with fewer threads they also take less memory."""


def thread_variables(count: int) -> dict[str, str]:
    """The environment of a process that computes with so many threads from its first line on."""
    return dict.fromkeys((*ONE_THREAD, *_POOLED), str(count))


class Threads:
    """The threads of a mode, held for as long as something computes, again and again.

    Which libraries compute with threads is looked up anew only where modules were loaded meanwhile: that reads all that is
    mapped into the process, and an ask of many small clients is over sooner.

    Args:
        mode: in fast mode nothing is held.
        count: how many threads in reference mode; with more than 1 the same bits are not promised.
    """

    def __init__(self, mode: Mode, count: int = 1) -> None:
        self._count = count
        self._mode, self._modules, self._libraries = mode, -1, ThreadpoolController()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, BLAS, OpenMP and PyTorch, where it is loaded, use one thread in reference mode; then as many as before.

        JAX and TensorFlow keep the number of threads with which they first compute: within, that is the same.
        """
        if self._mode != "reference":
            yield
            return
        if len(sys.modules) != self._modules:
            self._modules, self._libraries = len(sys.modules), ThreadpoolController()
        torch: Any = sys.modules.get("torch")
        before = torch.get_num_threads() if torch else 0
        variables = {name: os.environ.get(name) for name in ONE_THREAD}
        with self._libraries.limit(limits=self._count):
            try:
                os.environ.update(dict.fromkeys(ONE_THREAD, str(self._count)))
                if torch:
                    torch.set_num_threads(self._count)
                yield
            finally:
                if torch:
                    torch.set_num_threads(before)
                for name, value in variables.items():
                    if value is None:
                        os.environ.pop(name, None)
                    else:
                        os.environ[name] = value


def threads(mode: Mode, count: int = 1) -> AbstractContextManager[None]:
    """The context in which a mode computes; see `Threads`."""
    return Threads(mode, count).held()


def environment(mode: Mode) -> dict[str, str]:
    """What the numbers of a run depend on besides its experiment: versions, processor, threads."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    found |= {package: there for package in RECORDED if (there := version_of(package))}
    import numpy as np  # only here: who starts a process with so many threads computes nothing itself

    simd: Any = np.show_config(mode="dicts").get("SIMD Extensions", {})
    found["simd"] = " ".join(simd.get("found", []))
    found["threads"] = "1" if mode == "reference" else "any"
    if mode == "reference" and (several := _several()):
        found["threads"] = f"1; several in {several}, which had computed before the run"
    return found


def version_of(package: str) -> str:
    """The version of an installed package; empty where it is not installed.

    Its metadata's first lines say it; the library would parse all of them, which for the packages of a run takes longer than a
    first round.
    """
    from importlib.metadata import (
        PackageNotFoundError,
        distribution,
    )  # only here: a work, which needs threads, asks for none

    try:
        there = distribution(package)
    except PackageNotFoundError:
        return ""
    lines = (there.read_text("METADATA") or "").partition("\n\n")[0].splitlines()
    said = next((line for line in lines if line.startswith("Version:")), "")
    return said.removeprefix("Version:").strip() or there.version


_POOLS = {"tf_XLAEigen": "JAX", "tf_Compute": "TensorFlow"}
"""What the threads are called in which these frameworks compute."""


def _several() -> str:
    """The frameworks that compute with several threads, as far as the system tells: they began before anybody asked for one."""
    try:
        names = [Path(task.path, "comm").read_text().strip() for task in os.scandir("/proc/self/task")]
    except OSError:  # another system, or a thread that ended meanwhile
        return ""
    return " and ".join(framework for pool, framework in _POOLS.items() if names.count(pool) > 1)
