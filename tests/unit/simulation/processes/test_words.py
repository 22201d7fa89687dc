"""What is said of processes that ended and of works that raised; which rules are summed in parts."""

from __future__ import annotations

from typing import Any

import pytest

from hansa.errors import DataError
from hansa.rules import Both, ByPrefix, Collect, WeightedMean
from hansa.rules.moments import Moments
from hansa.simulation.processes.ended import in_words
from hansa.simulation.processes.failures import again, told
from hansa.simulation.processes.port import Manning
from hansa.simulation.processes.reduction import merges_exactly
from hansa.testing.probes import Witness


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (3, "ended with exit status 3"),
        (-9, "was killed by signal 9 (SIGKILL), perhaps for want of memory"),
        (-11, "was killed by signal 11 (SIGSEGV): native code went wrong"),
        (-15, "was killed by signal 15 (SIGTERM)"),
        (-99, "was killed by signal 99"),
    ],
)
def test_how_a_process_ended(status: int, words: str) -> None:
    assert in_words(status) == words


class Wordless(Exception):
    def __str__(self) -> str:
        raise OSError


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (KeyError("x"), "'x'"),
        (DataError("it is empty", where="client 'a'", hint="fill it"), "it is empty (client 'a'); fill it"),
        (SystemExit(3), "3"),
        (Wordless(), "and its text raised OSError"),
    ],
)
def test_an_exception_is_told_and_raised_again(problem: BaseException, said: str) -> None:
    found = again(told(problem))
    assert (type(found).__name__, str(found)) == (type(problem).__name__, said)


@pytest.mark.parametrize(
    ("rule", "exact"),
    [
        (WeightedMean(), True),
        (WeightedMean(exact=False), False),
        (Moments(), True),
        (Collect(), True),
        (Both(WeightedMean(), Collect()), True),
        (ByPrefix({"": WeightedMean(), "b": WeightedMean(exact=False)}), False),
        (Witness(), False),
    ],
)
def test_only_rules_that_are_known_to_be_exact_are_summed_in_parts(rule: Any, exact: bool) -> None:
    assert merges_exactly(rule) is exact


@pytest.mark.parametrize(
    ("given", "processes", "largest"),
    [
        ({"workers": 4}, 4, 64),
        ({"workers": 4, "max_concurrent": 2}, 2, 1),
        ({"workers": 4, "max_concurrent": 40}, 4, 10),
        ({"workers": 8, "gpu_fraction": 0.3}, 3, 64),
        ({"workers": 8, "gpu_fraction": 1.0}, 1, 64),
    ],
)
def test_how_many_are_computed_at_once(given: dict[str, Any], processes: int, largest: int) -> None:
    manning = Manning(**given)
    assert (manning.processes, manning.largest) == (processes, largest)
