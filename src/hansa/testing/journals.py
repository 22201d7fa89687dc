"""The conformance kit of journals: whoever keeps one, in a file, in memory or elsewhere, keeps records alike.

This file must not know where they are kept. What only one adapter can show, such as what a kill -9 leaves behind, is in its own
tests.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TypeVar, overload

from hansa.errors import StoreError
from hansa.store import Journal, Record
from hansa.testing.laws import require

Make = TypeVar("Make")

MakeJournal = Callable[[Path], Journal]
"""Opens the journal that is kept in a folder; for the same folder the same one, once it was closed."""


def check_journal(make: MakeJournal) -> None:
    """Check that a journal keeps records as the port promises.

    Args:
        make: opens the journal of a folder. Each law has a new folder.

    Raises:
        AssertionError: a law is broken; the message says which.
    """
    obey(make, (_order, _runs, _all_or_none, _replacing, _forgetting, _reading, _reopening, _closing, _writers))


def obey(make: Make, laws: Iterable[Callable[[Make, Path], None]]) -> None:
    """Check each law in a new folder."""
    for law in laws:
        with tempfile.TemporaryDirectory() as folder:
            try:
                law(make, Path(folder))
            except AssertionError:
                raise
            except Exception as problem:
                name = law.__name__.strip("_").replace("_", " ")
                raise AssertionError(f"broken law: {name}; it raised {problem!r}") from problem


def same(found: object, expected: object, law: str) -> None:
    """Require that two values are equal."""
    require(found == expected, law, f"{found!r:.300} instead of {expected!r:.300}")


@contextmanager
def raises(error: type[Exception], law: str) -> Iterator[None]:
    """Require that what is done inside raises an error of a kind."""
    try:
        yield
    except error:
        return
    except Exception as problem:
        raise AssertionError(f"broken law: {law}; it raised {problem!r} instead of {error.__name__}") from problem
    raise AssertionError(f"broken law: {law}; it raised nothing instead of {error.__name__}")


def together(count: int, work: Callable[[int], None]) -> None:
    """Run in so many threads at once, and raise what any of them raised."""
    problems: list[Exception] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            start.wait()
            work(number)
        except Exception as problem:  # noqa: BLE001 - raised below, in the caller's thread
            problems.append(problem)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


# --- the laws

MIXED = (
    Record("a", "begun", b""),
    Record("b", "begun", b"\x00\xff\n'\";"),
    Record("a", "ask", bytes(range(256)) * 4096),
    Record("ä/ö 1", "ask", b"1"),
    Record("b", "ask", b"2", number=77),
    Record("a", "ask", b"1"),
)


def _bare(records: Iterable[Record]) -> list[tuple[str, str, bytes]]:
    return [(each.run, each.kind, each.body) for each in records]


def _order(make: MakeJournal, folder: Path) -> None:
    with closing(make(folder)) as journal:
        same(list(journal.records()), [], "a new journal is empty")
        journal.append(())
        same(list(journal.records()), [], "appending nothing adds nothing")
        journal.append(MIXED[:1])
        journal.append(MIXED[1:4])
        journal.append(MIXED[4:])
        found = list(journal.records())
        same(_bare(found), _bare(MIXED), "records come back as they were appended, in order")
        numbers = [each.number for each in found]
        require(
            numbers[0] >= 1 and all(a < b for a, b in pairwise(numbers)),
            "the journal numbers its records upwards from 1",
            f"{numbers}",
        )


def _runs(make: MakeJournal, folder: Path) -> None:
    with closing(make(folder)) as journal:
        journal.append(MIXED)
        for run in ("a", "b", "ä/ö 1", "A", ""):
            expected = [each for each in journal.records() if each.run == run]
            same(list(journal.records(run)), expected, "a run's records are those of the run, and no others")


class _Breaking(Sequence[Record]):
    """Records of which the last cannot be had."""

    def __len__(self) -> int:
        return 3

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Record]: ...
    def __getitem__(self, place: int | slice) -> Record | Sequence[Record]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(3))]
        if place == 2:
            raise RuntimeError("the third record broke")
        return Record("a", "new", str(place).encode())


def _all_or_none(make: MakeJournal, folder: Path) -> None:
    law = "of an append that fails, nothing is kept and nothing replaced"
    with closing(make(folder)) as journal:
        journal.append(MIXED)
        with raises(RuntimeError, "an append does not hide an error of the records it is given"):
            journal.append(_Breaking(), replacing=("ask",))
        same(_bare(journal.records()), _bare(MIXED), law)
        journal.append([Record("c", "ask", b"")])
        same(_bare(journal.records())[-1:], [("c", "ask", b"")], "after an append that failed the next one succeeds")


def _replacing(make: MakeJournal, folder: Path) -> None:
    with closing(make(folder)) as journal:
        journal.append(MIXED)
        journal.append(
            [Record("a", "snapshot", b"s"), Record("a", "ask", b"again")], replacing=("ask", "snapshot", "odd")
        )
        expected = [each for each in _bare(MIXED) if each[:2] != ("a", "ask")]
        same(
            _bare(journal.records()),
            [*expected, ("a", "snapshot", b"s"), ("a", "ask", b"again")],
            "replacing drops the earlier records of these kinds in the runs that are appended to, and no others",
        )
        journal.append((), replacing=("ask",))
        same(len(list(journal.records())), len(expected) + 2, "replacing touches no run that is not appended to")


def _forgetting(make: MakeJournal, folder: Path) -> None:
    journal = make(folder)
    journal.append(MIXED)
    last = max(each.number for each in journal.records())
    journal.forget("nobody")
    same(_bare(journal.records()), _bare(MIXED), "forgetting a run that is not there changes nothing")
    journal.forget("a")
    same(
        _bare(journal.records()),
        [each for each in _bare(MIXED) if each[0] != "a"],
        "forgetting drops all records of the run, and no others",
    )
    for run in ("b", "ä/ö 1"):
        journal.forget(run)
    same(list(journal.records()), [], "a journal of which every run was forgotten is empty")
    journal.close()
    with closing(make(folder)) as again:
        same(list(again.records()), [], "what was forgotten does not come back")
        again.append(MIXED[:1])
        number = next(again.records()).number
        require(number > last, "a number is never used twice", f"{number} came after {last}")


def _reading(make: MakeJournal, folder: Path) -> None:
    many = [Record("a", "ask", str(each).encode()) for each in range(500)]
    with closing(make(folder)) as journal:
        journal.append(many)
        first, second = journal.records(), journal.records("a")
        journal.append([Record("a", "late", b"")])
        found = [next(first)]
        journal.append([Record("a", "later", b"")])
        found.extend(first)
        same(_bare(found), _bare(many), "one reads the records as they were when reading was asked for")
        same(_bare(second), _bare(many), "two may read at once")
        third = journal.records()
        next(third)
        journal.forget("a")
        require(len(list(third)) < 502, "a run may be forgotten while one reads")


def _reopening(make: MakeJournal, folder: Path) -> None:
    journal = make(folder)
    journal.append(MIXED)
    expected = list(journal.records())
    journal.close()
    with closing(make(folder)) as again:
        same(list(again.records()), expected, "what was appended is there when the journal is opened again")


def _closing(make: MakeJournal, folder: Path) -> None:
    journal = make(folder)
    journal.append(MIXED)
    journal.close()
    journal.close()
    law = "a closed journal says so"
    with raises(StoreError, law):
        journal.append(MIXED)
    with raises(StoreError, law):
        list(journal.records())
    with raises(StoreError, law):
        journal.forget("a")


def _writers(make: MakeJournal, folder: Path) -> None:
    with closing(make(folder)) as journal:

        def write(writer: int) -> None:
            for turn in range(5):
                journal.append([Record(str(writer), "ask", f"{turn} {each}".encode()) for each in range(3)])
                list(journal.records())

        together(4, write)
        law = "threads may write at once"
        for writer in range(4):
            expected = [f"{turn} {each}".encode() for turn in range(5) for each in range(3)]
            same([each.body for each in journal.records(str(writer))], expected, law)
        runs = [each.run for each in journal.records()]
        same(
            [set(runs[at : at + 3]) for at in range(0, 60, 3)],
            [{run} for run in runs[::3]],
            f"{law}, each append in one piece",
        )
