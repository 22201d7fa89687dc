"""The report: every number of a demo that is known is on the page, and no text of it is taken for markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hansa.demo.report import report, write_report
from hansa.demo.scenario import Scenario

if TYPE_CHECKING:
    from hansa.demo.play import Played


class Words(HTMLParser):
    """The text that a reader sees, row by row: a row is the list of its cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = [[]]
        self.titles: list[str] = []
        self._in: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the base class's
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        self._in.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self._in):
            self.rows[-1][-1] += data
        elif "title" in self._in:
            self.titles.append(data)


@pytest.fixture(scope="module")
def page(played: Played) -> str:
    return report(played)


@pytest.fixture(scope="module")
def rows(page: str) -> list[list[str]]:
    return Words(page).rows


def test_every_evaluation_is_a_row(rows: list[list[str]]) -> None:
    tail = ["50.0%", "31.2%", "18.8%", "1.250"]
    assert ["1", "alice", *tail, "11.1%"] in rows
    assert ["1", "federated", *tail, "14.1%"] in rows
    assert ["11", "bob", *tail, "82.1%"] in rows
    assert ["11", "federated", *tail, "84.1%"] in rows


def test_what_federating_gave_is_a_row_each(rows: list[list[str]]) -> None:
    assert ["alice alone", "20.1%", "1.250"] in rows
    assert ["charlie alone", "22.1%", "1.250"] in rows
    assert ["the federation", "84.1%", "1.250"] in rows
    assert ["everyone's data pooled in one place", "90.7%", "0.300"] in rows


def test_the_three_numbers_to_remember_are_the_best_alone_the_federation_and_pooling(page: str) -> None:
    assert re.findall(r"<b>([\d.]+%)</b>[a-z]", page) == ["22.1%", "84.1%", "90.7%"]


def test_what_everybody_holds_is_a_row_each(rows: list[list[str]]) -> None:
    assert ["bob", "", "", "", "", "145", "146", "145", "", "", "", "436"] in rows
    assert ["alice", "142", "146", "142", "146", "", "", "", "", "", "", "576"] in rows
    assert any(row[0].startswith("testing ") and row[-1] == "359" for row in rows if row)


def test_the_loss_axis_ends_above_nearly_all_losses(page: str) -> None:
    # From 3/1 down to 1/11; the largest of 33 may stick out, the second largest, 2, may not.
    _, loss = re.findall(r"<svg .*?</svg>", page, re.DOTALL)
    assert re.findall(r'text-anchor="end">([^<]+)<', loss) == ["0", "0.4", "0.8", "1.2", "1.6", "2"]


def test_text_is_never_taken_for_markup(played: Played) -> None:
    scenario = Scenario(played.scenario.dataset, played.scenario.rounds, played.scenario.seed)
    source = replace(scenario.source, title="<script>alert('$title & more')</script>")
    vars(scenario)["source"] = source  # where `cached_property` keeps it
    page = report(replace(played, scenario=scenario))
    assert "<script" not in page
    assert Words(page).titles == ["Hansa demo: <script>alert('$title & more')</script>"]
    assert "3.&lt;b&gt;11&lt;/b&gt;" in page


def test_nothing_of_the_template_is_left_over(page: str) -> None:
    assert "$" not in page


def test_the_file_is_the_page(played: Played, tmp_path: Path) -> None:
    write_report(played, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes().decode("utf-8") == report(played)
