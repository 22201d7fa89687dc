"""The conformance kits of the store: of journals (its laws are in `journals.py`) and of blobs (here).

This file must not know where blobs are kept. What only one adapter can show, such as which system calls it makes or what a
kill -9 leaves behind, is in its own tests.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from hansa.errors import Damaged, InputError, StoreError
from hansa.store import Blob, Blobs, Chunk, Partial
from hansa.testing.journals import MakeJournal, check_journal, obey, raises, same, together
from hansa.testing.laws import require

__all__ = ["MakeBlobs", "MakeJournal", "check_blobs", "check_journal"]

MakeBlobs = Callable[[Path], Blobs]
"""Opens the blobs that are kept in a folder; for the same folder the same ones."""


def check_blobs(make: MakeBlobs) -> None:
    """Check that blobs are kept, received and named as the port promises.

    Args:
        make: opens the blobs of a folder. Each law has a new folder.

    Raises:
        AssertionError: a law is broken; the message says which.
    """
    obey(
        make,
        (
            _putting,
            _moving,
            _receiving,
            _resuming,
            _missing_bytes,
            _wrong_content,
            _complete_already,
            _side_by_side,
            _apart,
            _ended_receivers,
            _deleting,
            _listing,
            _names,
            _kept,
            _senders,
        ),
    )


# --- the laws

CONTENT = bytes(range(251)) * 400
"""About 100 kB."""


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


SHA = _sha(CONTENT)


def _send(blobs: Blobs, content: bytes, piece: int = 30_011) -> Blob:
    with closing(blobs.receive(_sha(content), len(content))) as receiver:
        for at in range(receiver.offset, len(content), piece):
            receiver.write(content[at : at + piece])
        return receiver.finish()


def _begin(blobs: Blobs, content: bytes, count: int, sha: str = "", size: int = -1) -> None:
    """A transfer that is cut after some bytes."""
    size = len(content) if size < 0 else size
    with closing(blobs.receive(sha or _sha(content), size)) as receiver:
        receiver.write(content[receiver.offset : count])


def _is(blob: object, content: bytes, law: str) -> None:
    require(isinstance(blob, Blob), law, f"{blob!r} is no complete blob")
    assert isinstance(blob, Blob)  # noqa: S101 - for the type checker
    same((blob.sha, blob.size), (_sha(content), len(content)), law)
    require(blob.path.read_bytes() == content, law, "its file has another content")


def _putting(make: MakeBlobs, folder: Path) -> None:
    blobs, law = make(folder), "what is put is held, under the sha256 of its bytes"
    same(blobs.held(SHA), None, "of an unknown blob nothing is held")
    kinds: list[Chunk] = [CONTENT, bytearray(CONTENT + b"1"), memoryview(CONTENT + b"2")[:-1], b""]
    for content in kinds:
        blob = blobs.put(content)
        _is(blob, bytes(content), law)
        same(blobs.held(blob.sha), blob, law)
        same(blobs.put(content), blob, "putting the same again changes nothing")


def _moving(make: MakeBlobs, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        blobs, written, other = make(folder), Path(scratch) / "written", Path(scratch) / "other"
        for turn in ("a file is taken in", "a file whose content is here already is taken in"):
            written.write_bytes(CONTENT)
            _is(blobs.put(written), CONTENT, turn)
            require(not written.exists(), "a file that was taken in is gone from where it was")
        written.write_bytes(b"two names")
        other.hardlink_to(written)
        blob = blobs.put(written)
        other.write_bytes(b"another!!")
        _is(blob, b"two names", "a file with a second name cannot be changed by it after it was taken in")
        written.symlink_to(other)
        for path, kind in ((written, "a link"), (Path(scratch), "a folder"), (Path(scratch) / "absent", "nothing")):
            with raises(StoreError, f"only a regular file is taken in ({kind})"):
                blobs.put(path)
        same(other.read_bytes(), b"another!!", "where a link leads to is left alone")


def _receiving(make: MakeBlobs, folder: Path) -> None:
    blobs, law = make(folder), "what is received is held, however it was cut into chunks"
    for number, piece in enumerate((1_000, 4_096, 30_011, 1 << 20)):
        content = CONTENT + bytes([number])
        _is(_send(blobs, content, piece), content, law)
        _is(blobs.held(_sha(content)), content, law)
    _is(_send(blobs, b""), b"", "a blob without bytes is one too")
    buffer = bytearray(100)
    with closing(blobs.receive(_sha(bytes(100) + b"1" * 100), 200)) as receiver:
        for digit in (b"\0", b"1"):
            buffer[:] = digit * 100
            receiver.write(buffer)
            buffer[:] = b"x" * 100
        _is(receiver.finish(), bytes(100) + b"1" * 100, "a buffer may be used again once it was written")


def _resuming(make: MakeBlobs, folder: Path) -> None:
    blobs = make(folder)
    with closing(blobs.receive(SHA, len(CONTENT))) as receiver:
        same(receiver.offset, 0, "a new transfer begins at 0")
        receiver.write(CONTENT[:1_000])
        same(receiver.offset, 1_000, "the offset counts what was written")
        receiver.write(b"")
    law = "a transfer that was cut leaves what it had, to be resumed"
    same(blobs.held(SHA), Partial(SHA, 1_000), law)
    with closing(blobs.receive(SHA, len(CONTENT))) as receiver:
        same(receiver.offset, 1_000, law)
    _begin(blobs, CONTENT, 70_000)
    same(blobs.held(SHA), Partial(SHA, 70_000), law)
    _is(_send(blobs, CONTENT), CONTENT, law)
    same(list(blobs.all()), [blobs.held(SHA)], "of a complete blob no beginning is left")
    with closing(blobs.receive(_sha(b"never sent"), 10)):
        pass
    same(blobs.held(_sha(b"never sent")), None, "of a transfer without a byte nothing is left")


def _missing_bytes(make: MakeBlobs, folder: Path) -> None:
    blobs, law = make(folder), "a blob with missing bytes is not complete, and takes them still"
    with closing(blobs.receive(SHA, len(CONTENT))) as receiver:
        receiver.write(CONTENT[:-1])
        with raises(StoreError, law):
            receiver.finish()
        require(not isinstance(blobs.held(SHA), Blob), law, "it is held as a complete one")
        receiver.write(CONTENT[-1:])
        _is(receiver.finish(), CONTENT, law)


def _wrong_content(make: MakeBlobs, folder: Path) -> None:
    blobs, law = make(folder), "content that is not what its name says is dropped, and may be sent again"
    wrong = CONTENT[:-1] + b"?"
    for turn in ("at once", "resumed"):
        if turn == "resumed":
            _begin(blobs, wrong[::-1], 50_000, SHA)
        with closing(blobs.receive(SHA, len(CONTENT))) as receiver:
            receiver.write(wrong[receiver.offset :])
            with raises(Damaged, law):
                receiver.finish()
        same(blobs.held(SHA), None, f"{law} ({turn})")
    law = "more bytes than were announced are refused, and what came is dropped"
    with closing(blobs.receive(SHA, len(CONTENT))) as receiver:
        receiver.write(CONTENT)
        with raises(Damaged, law):
            receiver.write(b"!")
    same(blobs.held(SHA), None, law)
    _begin(blobs, CONTENT + b"longer", len(CONTENT) + 6, SHA)
    _is(_send(blobs, CONTENT), CONTENT, "a beginning that is longer than the whole is no beginning of it")


def _complete_already(make: MakeBlobs, folder: Path) -> None:
    blobs, law = make(folder), "a blob that is complete needs no bytes to be received"
    blob = blobs.put(CONTENT)
    with closing(blobs.receive(SHA, len(CONTENT))) as receiver:
        same(receiver.offset, len(CONTENT), law)
        same(receiver.finish(), blob, law)
        with raises(Damaged, "a blob that is complete takes no further bytes"):
            receiver.write(b"!")
    with raises(Damaged, "a blob that is complete has the size it has"):
        blobs.receive(SHA, len(CONTENT) + 1)


def _side_by_side(make: MakeBlobs, folder: Path) -> None:
    law = "transfers of the same blob at the same time do not disturb each other"
    for number, order in enumerate(((0, 1, 2), (2, 1, 0), (1, 2, 0))):
        blobs, content = make(folder), CONTENT + bytes([number])
        _begin(blobs, content, 10_000)
        with ExitStack() as stack:
            receivers = [stack.enter_context(closing(blobs.receive(_sha(content), len(content)))) for _ in range(3)]
            same([each.offset for each in receivers], [10_000, 0, 0], "only the first goes on with what is here")
            for at in range(0, len(content), 20_000):
                for receiver in receivers:
                    receiver.write(content[receiver.offset : at + 20_000])
            for place in order:
                _is(receivers[place].finish(), content, law)
        _is(blobs.held(_sha(content)), content, law)
        same([each for each in blobs.all() if isinstance(each, Partial)], [], f"{law}, and leave nothing behind")


def _apart(make: MakeBlobs, folder: Path) -> None:
    law = "a bad sender does not spoil what another sends"
    for first in (True, False):
        blobs, content = make(folder), CONTENT + bytes([first])
        with ExitStack() as stack:
            one, two = (stack.enter_context(closing(blobs.receive(_sha(content), len(content)))) for _ in range(2))
            bad, good = (one, two) if first else (two, one)
            bad.write(bytes(len(content)))
            good.write(content[:10])
            with raises(Damaged, law):
                bad.finish()
            good.write(content[10:])
            _is(good.finish(), content, law)
    blobs, content = make(folder), CONTENT + b"cut"
    one, two = (blobs.receive(_sha(content), len(content)) for _ in range(2))
    one.write(content[:10])
    two.write(content[:1_000])
    one.close()
    two.close()
    law = "of several transfers that were cut the one with the most bytes is resumed"
    same(blobs.held(_sha(content)), Partial(_sha(content), 1_000), law)
    _is(_send(blobs, content), content, law)


def _ended_receivers(make: MakeBlobs, folder: Path) -> None:
    blobs, law = make(folder), "a closed receiver says so"
    receiver = blobs.receive(SHA, len(CONTENT))
    receiver.write(CONTENT[:10])
    receiver.close()
    receiver.close()
    with raises(StoreError, law):
        receiver.write(CONTENT[10:])
    with raises(StoreError, law):
        receiver.finish()
    receiver = blobs.receive(SHA, len(CONTENT))
    receiver.write(CONTENT[10:])
    blob = receiver.finish()
    same(receiver.finish(), blob, "finishing twice is harmless")
    receiver.close()
    _is(blobs.held(SHA), CONTENT, "closing a finished receiver changes nothing")


def _deleting(make: MakeBlobs, folder: Path) -> None:
    blobs = make(folder)
    blob, kept, other = blobs.put(CONTENT), blobs.put(b"kept"), CONTENT + b"part"
    _begin(blobs, other, 100)
    with blob.path.open("rb") as opened:
        blobs.delete([SHA, _sha(other), _sha(b"nobody")])
        require(opened.read() == CONTENT, "who has opened a blob before its deletion can read on")
    same(list(blobs.all()), [kept], "deleting drops these, complete or not, and no others")
    same([blobs.held(SHA), blobs.held(_sha(other))], [None, None], "of a deleted blob nothing is held")
    with closing(blobs.receive(SHA, len(CONTENT))) as receiver:
        receiver.write(CONTENT[:10])
        blobs.delete([SHA])
        receiver.write(CONTENT[10:])
        _is(receiver.finish(), CONTENT, "a transfer under way survives a deletion")


def _listing(make: MakeBlobs, folder: Path) -> None:
    blobs = make(folder)
    same(list(blobs.all()), [], "a new store is empty")
    expected: list[Blob | Partial] = sorted((blobs.put(bytes(each)) for each in range(9)), key=lambda each: each.sha)
    cut = sorted(_sha(bytes(each)) for each in range(10, 15))
    for each in range(10, 15):
        _begin(blobs, bytes(each), 3)
    expected += [Partial(sha, 3) for sha in cut]
    same(list(blobs.all()), expected, "everything is listed: the complete by name, then the partial by name")


def _names(make: MakeBlobs, folder: Path) -> None:
    blobs, law = make(folder), "only a sha256 in small hexadecimal digits names a blob"
    blob = blobs.put(CONTENT)
    bad = (
        "",
        "../" * 21 + "a",
        SHA[:-1],
        SHA + "0",
        SHA + "\n",
        SHA.upper(),
        f"/{SHA[1:]}",
        "\0" * 64,
        "\u0661" * 64,
        "g" * 64,
    )
    for name in bad:
        with raises(InputError, law):
            blobs.held(name)
        with raises(InputError, law):
            blobs.receive(name, 1)
        with raises(InputError, law):
            blobs.delete([SHA, name])
    same(blobs.held(SHA), blob, "a deletion with a bad name deletes nothing")
    with raises(InputError, "no blob has a negative size"):
        blobs.receive(_sha(b"1"), -1)


def _kept(make: MakeBlobs, folder: Path) -> None:
    blobs = make(folder)
    blobs.put(CONTENT)
    other = CONTENT + b"part"
    _begin(blobs, other, 500)
    found = [type(each) for each in blobs.all()]
    del blobs
    again = make(folder)
    _is(again.held(SHA), CONTENT, "a blob is there when the store is opened again")
    same([type(each) for each in again.all()], found, "all that was there is there when the store is opened again")
    _is(_send(again, other), other, "a transfer is resumed when the store is opened again")


def _senders(make: MakeBlobs, folder: Path) -> None:
    blobs, law = make(folder), "threads may send at once, the same blob or others"

    def send(sender: int) -> None:
        for content in (CONTENT, CONTENT + bytes([sender]), b""):
            _is(_send(blobs, content, 4_096), content, law)
        blobs.delete([_sha(CONTENT + bytes([sender]))])

    together(6, send)
    same(
        [(type(each), each.sha) for each in blobs.all()],
        [(Blob, sha) for sha in sorted([SHA, _sha(b"")])],
        f"{law}, and nothing is left of the transfers",
    )
