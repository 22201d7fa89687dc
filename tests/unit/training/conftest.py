"""One thread, as in reference mode: small kernels gain nothing by more, and tests beside each other lose."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hansa.experiment.reference import threads


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with threads("reference"):
        yield
