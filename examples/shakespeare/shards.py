"""How a theatre company's plays are read: every role with lines enough is a client of its own."""

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import hansa

HISTORIES = (
    "1kinghenryiv 2kinghenryiv kinghenryv 1kinghenryvi 2kinghenryvi 3kinghenryvi kinghenryviii kingjohn kingrichardii "
    "kingrichardiii"
)
TRAGEDIES = (
    "antonyandcleopatra coriolanus cymbeline hamlet juliuscaesar kinglear macbeth othello romeoandjuliet timonofathens "
    "titusandronicus troilusandcressida"
)
SCHEMA = {"text": hansa.Field((), "uint8", classes=128)}  # a character is its number in ASCII


class Role(hansa.ShardDescriptor):
    """All that one role of a play says; the last fifth of it is held out."""

    schema = SCHEMA

    def __init__(self, speeches: list[str]):
        text = np.frombuffer("\n".join(speeches).encode("ascii"), np.uint8)
        self.text, self.held_out = hansa.ClientDataset({"text": text}), len(text) * 4 // 5

    def train(self) -> hansa.ClientDataset:
        return self.text.take(self.held_out)

    def test(self) -> hansa.ClientDataset:
        return self.text.select(range(self.held_out, len(self.text)))


class Company(hansa.ShardDescriptor):
    """A company that plays histories, tragedies or comedies, and has each role's lines."""

    schema = SCHEMA

    def __init__(self, file: str, genre: str, least: int = 2000, roles: int | None = None):
        self.file, self.genre, self.least, self.roles = Path(file), genre, least, roles

    def clients(self) -> Mapping[str, hansa.ShardDescriptor]:
        with gzip.open(self.file, "rt", encoding="ascii") as file:
            speeches = json.load(file)
        named = {
            re.sub("[^a-z0-9]+", "-", role.lower()): said
            for role, said in speeches.items()
            if genre_of(role.split("/")[0]) == self.genre and sum(map(len, said)) >= self.least
        }
        return {name: Role(named[name]) for name in sorted(named)[: self.roles]}


def genre_of(play: str) -> str:
    return "history" if play in HISTORIES.split() else "tragedy" if play in TRAGEDIES.split() else "comedy"
