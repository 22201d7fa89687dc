"""A worker with a true certificate that takes part and misbehaves: it is told why, and the run is not hurt."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import hansa
from hansa.errors import HansaError, NotAllowed, ProtocolError
from hansa.pki import Identity
from hansa.protocol import codec, wire
from hansa.protocol.messages import (
    Answer,
    Assign,
    Beat,
    Blob,
    Consent,
    Goodbye,
    Hello,
    Lacking,
    Offer,
    Over,
    Result,
    Settled,
    Upload,
    Welcome,
)
from hansa.protocol.peer import Role
from hansa.runtime.files import now
from hansa.transport.credentials import Credentials
from hansa.transport.grpc.client import GrpcConnection

if TYPE_CHECKING:
    from tests.integration.federation.conftest import Live

EXPERIMENT = Path(__file__).parent / "experiments" / "policies.py"
SCHEMA = {"x": {"shape": [5], "dtype": "float32"}, "y": {"shape": [], "dtype": "int64", "classes": 3}}
SHARD = {"name": "mallory", "description": "", "schema": SCHEMA, "clients": {"mallory": {"train": 3}}}
CLOSING, DEADLINE = "CLOSING = hansa.Closing.all()", "CLOSING = hansa.Closing.quorum(3, deadline=5.0)"


@pytest.fixture
def entry(live: Live, tmp_path: Path) -> Path:
    """An experiment whose rounds close without mallory, after a while."""
    copy = tmp_path / "policies.py"
    text = EXPERIMENT.read_text().replace(CLOSING, DEADLINE).replace('Path("nowhere")', f"Path({str(tmp_path)!r})")
    copy.write_text(text)
    return copy


@pytest.fixture(autouse=True)
def works_afterwards(live: Live) -> Iterator[None]:
    """After each test the Director and the Envoys are those that there were."""
    yield
    assert live.died() == []
    live.online("alice", "bob")


class Mallory:
    """An Envoy that a test leads by hand: it hears, says, calls and uploads whatever it likes.

    Attributes:
        heard: what the Director has said so far, in order.
        session: ends when the Director ends it.
        beating: says that it is there, until it is cancelled or the session is over.
    """

    def __init__(self, connection: GrpcConnection) -> None:
        self.connection, self.heard = connection, list[Any]()
        self._saying, self._news = asyncio.Queue[bytes](), asyncio.Event()
        self.session = asyncio.create_task(self._listens())
        self.beating = asyncio.create_task(self._beats())

    async def _listens(self) -> None:
        async for frame in self.connection.session(self._said()):
            self.heard.append(wire.decode(frame))
            self._news.set()

    async def _beats(self) -> None:
        while not self.session.done():
            self.say(Beat(0.0, tuple(message.run for message in self.heard if isinstance(message, Offer))))
            await asyncio.wait([self.session], timeout=0.3)

    async def _said(self) -> AsyncIterator[bytes]:
        yield wire.encode(Hello((1,), "0", 0.0, json.dumps(SHARD)))
        while True:
            yield await self._saying.get()

    def say(self, *messages: Any) -> None:
        """Say messages, or whatever bytes."""
        for message in messages:
            self._saying.put_nowait(message if isinstance(message, bytes) else wire.encode(message))

    async def hears(self, kind: type, after: int = 0) -> Any:
        """The first message of a kind."""
        while not (found := [message for message in self.heard[after:] if isinstance(message, kind)]):
            self._news.clear()
            await self._news.wait()
        return found[0]

    async def asked(self) -> Assign:
        """Takes part in the run that is offered, and waits until it is asked."""
        offer: Offer = await self.hears(Offer)
        self.say(Answer(offer.run, Consent.READY))
        assign: Assign = await self.hears(Assign)
        return assign

    async def upload(self, assign: Assign, data: bytes, client: str = "mallory") -> Blob:
        """Send bytes as the update of a visit."""
        blob = Blob(hashlib.sha256(data).hexdigest(), len(data))

        async def content() -> AsyncIterator[bytes]:
            yield data

        await self.connection.upload(wire.encode(Upload(blob, 0, assign.run, assign.ask, client)), content())
        return blob


def lead(live: Live, story: Callable[[Mallory], Awaitable[Any]]) -> None:
    """Let mallory open a session, and do what a test says."""
    folder = live.local.folder / "mallory-identity"
    if not folder.exists():
        live.local.identify(folder, "mallory", Role.ENVOY)
    mine = Identity.load(folder, now=now())
    proof = Credentials(mine.certificate, mine.key, mine.ca)

    async def led() -> None:
        async with asyncio.timeout(60), GrpcConnection(live.local.address, credentials=proof) as connection:
            mallory = Mallory(connection)
            try:
                await mallory.hears(Welcome)
                await story(mallory)
            finally:
                mallory.beating.cancel()
                mallory.session.cancel()
                await asyncio.gather(mallory.session, mallory.beating, return_exceptions=True)

    asyncio.run(led())


def update(value: float) -> bytes:
    """An update as the experiment's model has it."""
    leaves = hansa.NumpyMLP((5, 3)).init(hansa.Key(0))
    return codec.encode({name: np.full_like(leaf, value) for name, leaf in leaves.items()})


def log(live: Live, text: str) -> None:
    """The Director has logged it."""
    live.until(f"in the Director's log: {text}", lambda: text in live.log("director"))


def test_garbage_in_the_middle_of_a_round_ends_its_session_and_the_round_closes_without_it(
    live: Live, entry: Path
) -> None:
    runs: list[str] = []

    async def story(mallory: Mallory) -> None:
        runs.append(await asyncio.to_thread(live.submit, entry))
        await mallory.asked()
        mallory.say(b"\x08\x01garbage")
        with pytest.raises(ProtocolError):
            await mallory.session

    lead(live, story)
    history = live.finished(runs[0])
    assert history.rounds == 2
    assert history.entries[0].outcomes["mallory"].status == "dropped"
    log(live, "the session of envoy mallory ends: these bytes are no message")


def test_who_answers_for_another_is_told_why_and_sent_away(live: Live, entry: Path) -> None:
    runs: list[str] = []

    async def story(mallory: Mallory) -> None:
        runs.append(await asyncio.to_thread(live.submit, entry))
        assign = await mallory.asked()
        mallory.say(Result(assign.run, assign.ask, "alice", None, 1.0, "{}", "a lie"))
        goodbye: Goodbye = await mallory.hears(Goodbye)
        assert goodbye == Goodbye("it answers for 'alice', and may for itself only", again=False)
        with pytest.raises(NotAllowed, match="nobody waits for this update of 'alice'"):
            await mallory.upload(assign, update(9.0), client="alice")

    lead(live, story)
    history = live.finished(runs[0])
    assert [entry.outcomes["alice"].status for entry in history.entries] == ["updated", "updated"]
    log(live, "envoy mallory is sent away: it answers for 'alice'")


def test_of_many_updates_for_one_visit_one_counts(live: Live, entry: Path) -> None:
    runs: list[str] = []

    async def story(mallory: Mallory) -> None:
        runs.append(await asyncio.to_thread(live.submit, entry))
        assign = await mallory.asked()
        blobs = [await mallory.upload(assign, update(float(value))) for value in range(2, 12)]
        lacking = wire.decode(await mallory.connection.call(wire.encode(Lacking(tuple(blobs)))))
        assert [size > 0 for size in lacking.bytes] == [False] * 9 + [True], "each takes the place of the one before it"
        results = [Result(assign.run, assign.ask, "mallory", blob, 1.0) for blob in reversed(blobs)]
        mallory.say(*results * 20)
        await mallory.hears(Settled)
        with pytest.raises(NotAllowed, match="nobody waits for this update of 'mallory'"):
            await mallory.upload(assign, update(99.0))
        mallory.say(*results)

    lead(live, story)
    history = live.finished(runs[0])
    counted = history.entries[0].outcomes
    assert {client: outcome.status for client, outcome in counted.items()} == dict.fromkeys(counted, "updated")
    assert len(counted) == 4


def test_updates_for_a_run_that_is_over_are_told_so(live: Live, entry: Path) -> None:
    run = live.submit(entry)
    live.finished(run)
    before = live.show(run)

    async def story(mallory: Mallory) -> None:
        late = Assign(run, 1, "mallory", "train", 1, 0, Blob("0" * 64, 1))
        with pytest.raises(NotAllowed, match="nobody waits"):
            await mallory.upload(late, update(1.0))
        for each in (run, "no-such-run"):
            heard = len(mallory.heard)
            mallory.say(Result(each, 1, "mallory", Blob("1" * 64, 8), 1.0))
            over: Over = await mallory.hears(Over, heard)
            assert over == Over(each, "" if each == run else "there is no such run")

    lead(live, story)
    assert live.show(run) == before


def test_who_is_slower_than_it_promises_is_shown_as_gone_and_dropped(live: Live, entry: Path) -> None:
    runs: list[str] = []

    async def story(mallory: Mallory) -> None:
        runs.append(await asyncio.to_thread(live.submit, entry))
        assign = await mallory.asked()
        mallory.beating.cancel()
        slow = asyncio.create_task(mallory.connection.upload(_head(assign), _drips(update(1.0))))
        goodbye: Goodbye = await mallory.hears(Goodbye)  # a beat a second was promised, and none came
        assert goodbye.again
        assert goodbye.why.startswith("nothing was heard for ")
        assert not slow.done()
        await asyncio.to_thread(live.finished, runs[0])
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)

    lead(live, story)
    assert live.finished(runs[0]).entries[0].outcomes["mallory"].status == "dropped"
    log(live, "envoy mallory has said nothing for")


def test_who_beats_and_never_answers_is_dropped_at_the_deadline_and_told(live: Live, entry: Path) -> None:
    async def story(mallory: Mallory) -> None:
        run = await asyncio.to_thread(live.submit, entry)
        assign = await mallory.asked()
        settled: Settled = await mallory.hears(Settled)
        assert settled == Settled(run, assign.ask, "mallory", hansa.Status.DROPPED)
        with pytest.raises(HansaError):
            await mallory.upload(assign, update(1.0))

    lead(live, story)


def _head(assign: Assign) -> bytes:
    data = update(1.0)
    blob = Blob(hashlib.sha256(data).hexdigest(), len(data))
    return wire.encode(Upload(blob, 0, assign.run, assign.ask, "mallory"))


async def _drips(data: bytes) -> AsyncIterator[bytes]:
    """A byte, and then nothing for ever."""
    yield data[:1]
    await asyncio.Event().wait()
