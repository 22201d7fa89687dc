"""Bad links: real processes over mutual TLS; a proxy between one Envoy and the Director is slow, and cut again and again.

The heavy scenario, with network namespaces and netem, is `python -m benchmarks.links`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hansa.protocol import codec
from hansa.runtime.files import LEAST, SHARE
from hansa.testing.links import BadLink, Quality
from hansa.transport.port import CHUNK

if TYPE_CHECKING:
    from tests.integration.federation.conftest import Live, MakeLive

EXPERIMENTS = Path(__file__).parent / "experiments"
LARGE = EXPERIMENTS / "large.py"
SIZE = 1_000_000
"""Bytes of the large model."""

OVER = ("finished", "failed", "cancelled")


class Linked:
    """A federation whose Envoy Alice dials over a bad link."""

    def __init__(self, live: Live, link: BadLink) -> None:
        self.live, self.link = live, link

    def followed(self, run: str, disturb: Callable[[], None] = lambda: None) -> None:
        """Wait until a run has finished, while somebody disturbs it."""

        def over() -> bool:
            disturb()
            return self.live.show(run).get("phase") in OVER

        self.live.until(f"run {run} is over", over)
        shown = self.live.show(run)
        assert shown["phase"] == "finished", shown["why"]

    def model(self, run: str) -> str:
        """Which bits a run's model has."""
        with self.live.local.user() as user:
            return codec.digest(user.history(run).model)


@pytest.fixture(scope="module")
def linked(make_live: MakeLive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Linked]:
    """Alice's Envoy behind a link of 8 Mbit/s and 20 ms each way, Bob's beside the Director."""
    live = make_live()
    settings = live.local.folder / "alice" / "envoy.toml"
    port = int(live.local.address.rpartition(":")[2])
    with BadLink(port, Quality(rate=1e6, delay=0.02)) as link:
        live.local.kill("alice")
        settings.write_text(
            re.sub(r'(?m)^director = ".*"', f'director = "127.0.0.1:{link.port}"', settings.read_text())
        )
        live.local.start("alice")
        live.until("alice dials over the link", lambda: link.connections)
        live.online()
        yield Linked(live, link)
        live.local.down()


def another(folder: Path, seed: int) -> Path:
    """The same experiment with other numbers, which nobody has sent yet."""
    (folder / "large.py").write_text(LARGE.read_text().replace("SEED = 1", f"SEED = {seed}"))
    return folder / "large.py"


class Cuts:
    """Cuts the link whenever so many bytes more have gone over it."""

    def __init__(self, link: BadLink, every: int, most: int) -> None:
        self._link, self._every, self._most = link, every, most
        self._next = link.up + link.down + every
        self.made = 0

    def __call__(self) -> None:
        if self.made < self._most and self._link.up + self._link.down >= self._next and self._link.cut():
            self.made += 1
            self._next = self._link.up + self._link.down + self._every


def test_transfers_resume_after_every_cut_and_little_is_sent_twice(linked: Linked) -> None:
    link = linked.link
    before = link.up, link.down
    cuts = Cuts(link, every=200_000, most=6)
    run = linked.live.submit(LARGE)
    linked.followed(run, cuts)
    assert cuts.made >= 5
    assert linked.model(run) == linked.live.simulated(LARGE)
    twice = link.up - before[0] + link.down - before[1] - 2 * SIZE
    talk = 0.02 * 2 * SIZE + 30_000 * (cuts.made + 1)  # frames, TLS, handshakes, beats
    assert twice <= cuts.made * max(LEAST, 200_000 // SHARE) + talk
    assert cuts.made * max(LEAST, 200_000 // SHARE) + talk < cuts.made * CHUNK, "the promise is a chunk for each cut"
    assert linked.live.died() == []


@pytest.mark.parametrize("who", ["alice", "director"])
def test_who_is_killed_while_the_link_is_parted_goes_on_where_it_was(linked: Linked, who: str, tmp_path: Path) -> None:
    live, link, start = linked.live, linked.link, linked.link.up
    entry = another(tmp_path, seed=2 + len(who))
    link.part_after(SIZE // 2)
    run = live.submit(entry)
    live.until("half of the update is there", lambda: not link.whole)
    live.local.kill(who)
    live.local.start(who)
    link.mend()
    linked.followed(run)
    assert linked.model(run) == live.simulated(entry)
    assert link.up - start <= 1.3 * SIZE, "it did not begin anew"


def test_a_partition_ends_in_a_rejoin(linked: Linked, tmp_path: Path) -> None:
    live, link, start = linked.live, linked.link, linked.link.up
    entry = another(tmp_path, seed=2)

    def seen() -> bool:
        with live.local.user() as user:
            return {seat["name"]: bool(seat["online"]) for seat in user.overview()["envoys"]}["alice"]

    link.part_after(SIZE // 4)
    run = live.submit(entry)
    live.until("a quarter of the update is there", lambda: not link.whole)
    live.until("alice is seen to be gone", lambda: not seen())
    link.mend()
    linked.followed(run)
    assert seen()
    assert linked.model(run) == live.simulated(entry)
    assert link.up - start <= 1.3 * SIZE
