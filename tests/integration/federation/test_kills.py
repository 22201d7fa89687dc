"""Every process of a federation, killed with kill -9 at named points of a round: the run goes on, and ends with the same bits.

The experiment's clients have private state, and show it in the final model; so nothing of that may be lost or counted twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hansa.protocol import codec

if TYPE_CHECKING:
    from tests.integration.federation.conftest import Live

SCAFFOLD = Path(__file__).parent / "experiments" / "scaffold.py"

POINTS = {
    # A Director, started again by this test.
    "director: Accepted not recorded": 1,
    "director: Assign not sent": 5,  # the first of the second round's three was
    "director: Came recorded": 5,
    "director: Told recorded": 2,  # and nobody's private state was settled
    "director: Settled not sent": 5,  # one was
    # An Aggregator, started again by its Director.
    "aggregator: asks not said": 2,
    "aggregator: told not said": 2,
    # An Envoy, started again by this test.
    "envoy: Answered recorded": 5,
    "envoy: Result sent": 5,
    # A Collaborator, started again by its Envoy.
    "experiment: in the middle of the work": 5,
    "collaborator: update written": 5,
}
"""Where a process dies, and the how manieth time it passes there."""

MORE = {
    "director: Accepted recorded": 1,  # and its submitter was not told
    "director: Asked recorded": 2,  # and nobody was sent anything
    "director: Came not recorded": 2,
    "director: Closed recorded": 2,  # and the Aggregator was not told
    "director: Ended recorded": 1,
    "aggregator: experiment loaded": 1,
    "aggregator: close heard": 2,
    "envoy: Assign heard": 4,
    "envoy: Settled recorded": 4,
    "collaborator: experiment loaded": 2,
    "director: user's blob received": 1,
    "director: Gathering recorded": 1,
    "director: Joined recorded": 1,
    "director: Started recorded": 1,
    "director: Asked not recorded": 2,
    "director: envoy's blob received": 2,
    "director: arrived not said": 3,
    "director: Told not recorded": 2,
    "director: kept not said": 1,
    "aggregator: asks said": 1,
    "aggregator: judges not said": 5,
    "aggregator: told said": 2,
    "envoy: blobs fetched": 2,
    "envoy: Answered not recorded": 4,
    "envoy: Result not sent": 4,
    "envoy: Settled heard": 2,
    "collaborator: asked": 4,
}
"""Further ones, which take minutes: with `make thorough`."""

CASES = [
    *(pytest.param(*case, id=case[0].replace(" ", "-")) for case in POINTS.items()),
    *(pytest.param(*case, id=case[0].replace(" ", "-"), marks=pytest.mark.thorough) for case in MORE.items()),
]


@pytest.mark.parametrize(("point", "occurrence"), CASES)
def test_a_process_that_is_killed_at_a_point_changes_no_bit(live: Live, point: str, occurrence: int) -> None:
    live.arm(point, occurrence)
    run = live.submitted(SCAFFOLD)
    history = live.kept_up(run)
    assert not live.armed.exists(), "the point was not passed"
    assert codec.digest(history.model) == live.simulated(SCAFFOLD)
    assert history.rounds == 4
