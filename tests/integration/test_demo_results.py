"""`hansa demo --out DIR`: what is printed for people, and the three files that are left."""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hansa

if TYPE_CHECKING:
    from tests.integration.conftest import Ended, Shell

MODELS = "alice", "bob", "charlie", "federated"
VOID = {"meta", "link", "br", "hr", "img", "input", "col", "base", "source", "embed", "area", "wbr", "track"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "new" / "results"


@pytest.fixture(scope="module")
def ended(shell: Shell, folder: Path) -> Ended:
    return shell.hansa("demo", "--simulate", "--rounds", "2", "--out", folder)


@pytest.fixture(scope="module")
def history(ended: Ended, folder: Path) -> hansa.History:
    assert ended.code == 0, ended.err
    return hansa.load_results(folder)


@pytest.fixture(scope="module")
def page(ended: Ended, folder: Path) -> str:
    assert ended.code == 0, ended.err
    return (folder / "report.html").read_text(encoding="utf-8")


def percent(share: float) -> str:
    return f"{share:.1%}"


class Outline(HTMLParser):
    """Every tag with its attributes, and whether the tags that were opened were closed in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    outline = Outline()
    outline.feed(page)
    outline.close()
    return outline


# --- what is printed


def test_the_plain_text_says_what_every_owner_holds(ended: Ended) -> None:
    totals = re.findall(r"^(\w+) +holds .* total (\d+)$", ended.out, re.MULTILINE)
    assert totals == [("alice", "576"), ("bob", "436"), ("charlie", "426")]
    assert "bob      holds 145 of 4, 146 of 5, 145 of 6, total 436\n" in ended.out
    assert re.search(r"^testing +holds 359 .* never trains$", ended.out, re.MULTILINE)


def test_the_plain_text_has_no_escape_codes_and_no_bars(ended: Ended) -> None:
    assert "\x1b" not in ended.out
    assert "\r" not in ended.out
    assert "━" not in ended.out
    assert ended.err == ""


def test_every_evaluation_is_a_line_of_the_plain_text(ended: Ended, history: hansa.History) -> None:
    lines = [line.split() for line in ended.out.splitlines()]
    for entry in history.evaluations():
        name, numbers = str(entry.settings["model"]), entry.metrics.numbers()
        tail = [f"{numbers['loss']:.3f}", percent(numbers["accuracy"])]
        assert any(name in line[:2] and line[-2:] == tail for line in lines), (entry.round, name)


def test_what_federating_gave_is_compared_with_training_alone_and_with_pooling(ended: Ended) -> None:
    rows = ("alice alone", "bob alone", "charlie alone", "the federation", "everyone's data pooled")
    _, comparison = ended.out.split("What federating gave")
    assert all(re.search(rf"{row} .*\d+\.\d%", comparison) for row in rows)


# --- what is written


def test_three_files_and_no_drafts_are_left(ended: Ended, folder: Path) -> None:
    assert ended.code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["history.json", "model.safetensors", "report.html"]
    assert str(folder) in ended.out


def test_the_printed_hash_is_that_of_the_model_file(ended: Ended, folder: Path) -> None:
    found = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert f"model sha256 {found}\n" in ended.out


def test_the_history_can_be_loaded_with_its_model(ended: Ended, history: hansa.History) -> None:
    assert (history.rounds, history.seed, history.mode) == (2, 0, "reference")
    assert [(entry.round, entry.settings["model"]) for entry in history.evaluations()] == [
        (number, model) for number in (1, 2) for model in MODELS
    ]
    assert f"{percent(history.final('accuracy'))}" in ended.out
    assert history.model["0.weight"].shape == (32, 1, 3, 3)
    assert sum(leaf.size for leaf in history.model.values()) > 500_000


# --- the report


def test_the_report_is_a_page_whose_tags_are_closed_in_turn(page: str, outline: Outline) -> None:
    assert page.startswith("<!doctype html>")
    assert (outline.wrong, outline.open) == ([], [])
    assert {"title", "h1", "table", "svg"} <= {tag for tag, _ in outline.tags}


def test_the_report_needs_nothing_but_itself(page: str, outline: Outline) -> None:
    assert not re.search(r"https?://|url\(|@import", page)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in outline.tags}
    assert [attributes for _, attributes in outline.tags if attributes.keys() & {"src", "href", "srcset"}] == []


def test_the_report_shows_every_measured_accuracy(page: str, history: hansa.History) -> None:
    for entry in history.evaluations():
        accuracy = percent(entry.metrics.value("accuracy"))
        name = str(entry.settings["model"])
        row = rf"<td>{entry.round}</td><th>{name}</th>.*<td>{re.escape(accuracy)}</td></tr>"
        assert re.search(row, page), (entry.round, name)


def test_the_report_draws_a_curve_of_accuracy_for_every_model_and_one_of_loss_for_every_owner(page: str) -> None:
    accuracy, loss = re.findall(r"<svg .*?</svg>", page, re.DOTALL)
    for chart, names in ((accuracy, MODELS), (loss, MODELS[:3])):
        curves = re.findall(r'<g class="line-(\w+)"><polyline points="([^"]+)"/>', chart)
        assert tuple(name for name, _ in curves) == names
        assert all(len(points.split()) == 2 for _, points in curves)


def test_the_report_shows_what_every_participant_holds(page: str) -> None:
    for name, total in {"alice": 576, "bob": 436, "charlie": 426, "testing": 359}.items():
        assert re.search(rf'<tr class="line-{name}"><th>{name}.*<td>{total}</td></tr>', page), name


def test_the_report_says_how_to_get_the_same_numbers(page: str, history: hansa.History, folder: Path) -> None:
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert facts["model sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert (facts["seed"], facts["rounds"], facts["mode"]) == ("0", "2", "reference")
    assert history.environment.items() <= facts.items()
