"""Pictures say what they were given, in every layout and size, and leave nothing of matplotlib's changed."""

from __future__ import annotations

import io
import math
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from matplotlib.figure import Figure

from hansa import plots
from hansa.errors import DataError
from hansa.plots import Line
from hansa.plots.figure import COLOURS, FAINT, WRONG
from hansa.plots.images import as_pictures, overlay
from hansa.plots.predictions import FOUND, MISSED, TOO_MUCH


def drawn(figure: Figure) -> bytes:
    """The figure as a file: whatever overlaps or has no glyph would be a warning, which is an error."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def captions(figure: Figure) -> list[str]:
    return [axes.get_xlabel() for axes in figure.axes]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


# --- lines


def test_a_panel_a_measure_and_the_bold_line_in_front() -> None:
    figure = plots.lines(
        {
            "accuracy": [Line("all", [(0, 0.1), (5, 0.5)], bold=True), Line("bob", [(0, 0.2), (5, 0.3)])],
            "loss": [Line("bob", [(0, 2.0), (5, 1.0)]), Line("all", [(0, 1.5), (5, 0.7)], bold=True)],
        }
    )
    first, second = figure.axes
    assert (first.get_ylabel(), second.get_ylabel(), first.get_xlabel()) == ("accuracy", "loss", "round")
    assert [np.asarray(line.get_xydata()).tolist() for line in second.lines] == [[[0, 2], [5, 1]], [[0, 1.5], [5, 0.7]]]
    assert second.lines[0].get_linewidth() < second.lines[1].get_linewidth()
    assert first.lines[0].get_color() == second.lines[0].get_color() == COLOURS[1]
    assert legend(figure) == ["all", "bob"]
    assert drawn(figure).startswith(b"\x89PNG")


def test_many_faint_lines_are_grey_and_named_together() -> None:
    many = [Line(f"owner {number}", [(0, number), (1, number + 1)]) for number in range(50)]
    figure = plots.lines({"loss": [*many, Line("all", [(0, 0), (1, 1)], bold=True)]}, others="50 owners")
    (axes,) = figure.axes
    assert {line.get_color() for line in axes.lines} == {FAINT, COLOURS[0]}
    assert legend(figure) == ["all", "50 owners"]


def test_what_is_no_number_is_a_gap_and_keeps_its_place_on_the_axis() -> None:
    figure = plots.lines({"loss": [Line("all", [(0, 1.0), (1, math.nan), (2, 2.0), (9, math.inf)], bold=True)]})
    (axes,) = figure.axes
    assert np.nan_to_num(np.asarray(axes.lines[0].get_ydata(), float), nan=-1).tolist() == [1.0, -1, 2.0, -1]
    assert axes.get_xlim()[1] > 9
    assert axes.get_ylim()[1] < 3
    assert figure.legends == [], "one line needs no legend"
    drawn(figure)


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 2)), (5, (2, 3))])
def test_panels_are_laid_out_in_rows(count: int, shape: tuple[int, int]) -> None:
    figure = plots.lines({f"m{number}": [Line("a", [(0, 0), (1, 1)])] for number in range(count)})
    assert len(figure.axes) == count
    grid: Any = figure.axes[0].get_gridspec()
    assert grid.get_geometry() == shape


def test_names_of_others_are_no_formulas() -> None:
    drawn(plots.lines({"$x^{": [Line("\\frac$", [(0, 1)], bold=True), Line("a_$b$\x00", [(0, 1)])]}))
    drawn(plots.shares({"$\\bad": np.array([1, 2])}, rows=["$x^{", "_b"]))
    drawn(plots.table(["$a$ $"], [["\\$x^{ $"]]))
    drawn(plots.images(np.zeros((1, 8, 8)), ["$x^{ costs $5"]))


def test_long_names_keep_their_end() -> None:
    clients = {f"hospital-number-{number}": np.array([number + 1]) for number in range(30)}
    ticks = [tick.get_text() for tick in plots.shares(clients).axes[1].get_xticklabels()]
    assert len(set(ticks)) == 30
    assert ticks[17] == "hospital-number-17"
    figure = plots.lines({"loss": [Line("x" * 50 + str(number), [(0, 1)]) for number in range(3)]})
    assert legend(figure) == ["x" * 14 + "…" + "x" * 12 + str(number) for number in range(3)]
    assert {len(name) for name in legend(figure)} == {28}


# --- shares


def test_who_holds_what_is_written_where_there_is_room() -> None:
    figure = plots.shares({"alice": np.array([3, 0, 4]), "bob": np.array([0, 12, 0])}, rows=["a", "b", "c"])
    above, below = figure.axes
    bars: Any = above.patches
    assert [bar.get_height() for bar in bars] == [7, 12]
    assert sorted(text.get_text() for text in below.texts) == ["12", "3", "4"]
    assert [tick.get_text() for tick in below.get_yticklabels()] == ["a", "b", "c"]
    assert [tick.get_text() for tick in below.get_xticklabels()] == ["alice", "bob"]
    shown = below.images[0].get_array()
    assert shown is not None
    assert np.ma.filled(shown, 0).tolist() == [[3, 0], [0, 12], [4, 0]]
    drawn(figure)


@pytest.mark.parametrize(("holders", "classes"), [(1, 1), (30, 2), (500, 10), (10, 200)])
def test_hundreds_of_holders_or_classes_stay_readable(holders: int, classes: int) -> None:
    figure = plots.shares({f"client-{number}": np.full(classes, number) for number in range(holders)})
    below = figure.axes[1]
    assert len(below.get_xticklabels()) <= 40
    assert len(below.get_yticklabels()) <= 26
    drawn(figure)


# --- images

SHAPES = [
    ((3, 8, 9), (3, 8, 9)),
    ((3, 1, 8, 9), (3, 8, 9)),
    ((3, 8, 9, 1), (3, 8, 9)),
    ((3, 3, 8, 9), (3, 8, 9, 3)),
    ((3, 8, 9, 3), (3, 8, 9, 3)),
    ((3, 8, 9, 4), (3, 8, 9, 4)),
    ((3, 64), (3, 8, 8)),
]


@pytest.mark.parametrize(("given_", "seen"), SHAPES)
def test_every_layout_is_known(given_: tuple[int, ...], seen: tuple[int, ...]) -> None:
    values = np.arange(math.prod(given_), dtype=np.float64).reshape(given_)
    assert plots.is_pictures(values)
    pictures = as_pictures(values)
    assert pictures.shape == seen
    assert (pictures.min(), pictures.max()) == (0.0, 1.0)
    drawn(plots.images(values))


def test_channels_first_and_last_show_the_same() -> None:
    values = np.random.default_rng(0).random((2, 3, 5, 6))
    assert np.array_equal(as_pictures(values), as_pictures(np.moveaxis(values, 1, -1)))


@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 50), (3, 1, 9), (3, 2, 8, 9), (3, 1, 1, 8, 8), (3, 49)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    assert not plots.is_pictures(np.zeros(shape))
    with pytest.raises(DataError, match=r"cannot be shown as images\n  what to do: give \(n, height, width\)"):
        plots.images(np.zeros(shape))


def test_texts_are_no_images() -> None:
    assert not plots.is_pictures(np.full((3, 8, 8), "a"))


@given(
    npst.arrays(
        st.sampled_from([np.float32, np.float64, np.uint8, np.int64, np.bool_]),
        st.sampled_from([(2, 8, 8), (1, 3, 4, 5), (2, 64)]),
    )
)
def test_pixels_lie_between_black_and_white_whatever_the_numbers(values: Any) -> None:
    with np.errstate(all="ignore"):
        pictures = as_pictures(values)
    assert np.isfinite(pictures).all()
    assert pictures.min() >= 0
    assert pictures.max() <= 1


def test_bytes_and_shares_are_taken_as_they_are() -> None:
    assert as_pictures(np.full((1, 2, 2), 51, np.uint8)).max() == 0.2
    assert as_pictures(np.full((1, 2, 2), 0.25)).max() == 0.25
    assert as_pictures(np.full((1, 2, 2), np.nan)).tolist() == np.full((1, 2, 2), 0.5).tolist()


def test_a_mask_has_a_colour_where_it_is_not_nothing() -> None:
    colours = overlay(np.array([[0, 1], [2, 1]]))
    assert (colours[..., 3] > 0).tolist() == [[False, True], [True, True]]
    assert colours[0, 1].tolist() == colours[1, 1].tolist() != colours[1, 0].tolist()


def test_captions_and_masks_are_one_an_image() -> None:
    with pytest.raises(DataError, match="there are 1 captions for 2 images"):
        plots.images(np.zeros((2, 8, 8)), ["a"])
    figure = plots.images(np.zeros((2, 8, 8)), ["a", "b"], masks=np.ones((2, 8, 8), int))
    assert captions(figure) == ["a", "b"]
    assert [len(axes.images) for axes in figure.axes] == [2, 2]


# --- predictions


def test_wrong_ones_are_framed_and_say_both() -> None:
    figure = plots.predictions(np.zeros((3, 8, 8)), np.array([0, 1, 2]), np.array([0, 2, 2]), classes=["a", "b", "c"])
    assert captions(figure) == ["a", "c, not b", "c"]
    framed = [axes.spines["left"].get_linewidth() > 2 for axes in figure.axes]
    assert framed == [False, True, False]
    assert figure.axes[1].xaxis.label.get_color() == WRONG
    drawn(figure)


def test_the_highest_score_is_the_prediction() -> None:
    scores = np.array([[0.1, 0.9], [0.8, 0.2]])
    assert captions(plots.predictions(np.zeros((2, 64)), np.array([1, 1]), scores)) == ["1", "0, not 1"]


def test_only_the_first_are_shown() -> None:
    assert len(plots.predictions(np.zeros((50, 64)), np.zeros(50), np.zeros(50), most=5).axes) == 5


def test_masks_are_coloured_by_what_was_found() -> None:
    truth, said = np.array([[[0, 1], [1, 2]]]), np.array([[[1, 1], [0, 1]]])
    figure = plots.predictions(np.zeros((1, 2, 2)), truth, said)
    expected = overlay(np.array([[TOO_MUCH, FOUND], [MISSED, MISSED]]), 0.6)
    assert np.allclose(np.asarray(figure.axes[0].images[1].get_array()), expected)
    assert captions(figure) == ["IoU 0.25"]
    assert legend(figure) == ["found", "missed", "too much"]
    drawn(figure)


def test_scores_of_pixels_and_masks_with_a_channel_are_masks_too() -> None:
    truth = np.array([[[0, 1], [1, 1]]])
    scores = np.stack([1.0 - truth, truth], axis=1)
    assert captions(plots.predictions(np.zeros((1, 2, 2)), truth[:, None], scores)) == ["IoU 1.00"]
    assert captions(plots.predictions(np.zeros((1, 2, 2)), truth * 0, truth * 0)) == ["nothing there"]


@pytest.mark.parametrize("predicted", [np.zeros(3), np.zeros((2, 8, 8)), np.zeros(())])
def test_what_does_not_go_together_is_refused(predicted: Any) -> None:
    with pytest.raises(DataError, match="do not go together"):
        plots.predictions(np.zeros((2, 8, 8)), np.zeros(2), np.atleast_1d(predicted))


# --- tables


def test_a_table_shortens_what_is_long_and_counts_what_it_leaves_out() -> None:
    figure = plots.table([f"column {number}" for number in range(40)], [["x" * 100] + ["1"] * 39])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "x" * 47 + "…" in texts
    assert any(text.startswith("and ") and text.endswith(" more") for text in texts)
    drawn(figure)


def test_html_is_escaped() -> None:
    html = plots.html_table("<b>$x$", ["a&b"], [["<script>alert('x')</script>"]], note='"quoted"')
    assert "<script" not in html
    assert "<b>&lt;b&gt;&#36;x&#36;</b>" in html
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in html
    assert "a&amp;b" in html
    assert "&quot;quoted&quot;" in html


# --- where pictures are drawn


def test_a_notebook_shows_a_picture_by_itself() -> None:
    from IPython.core.formatters import DisplayFormatter

    figure = plots.lines({"loss": [Line("all", [(0, 1), (1, 0)])]})
    notebook: Any = DisplayFormatter
    shown, about = notebook().format(figure)
    assert shown["image/png"].startswith(b"\x89PNG")
    width, height = figure.get_size_inches() * figure.dpi
    assert about["image/png"] == {"width": round(width), "height": round(height)}


def test_a_picture_is_drawn_in_a_thread() -> None:
    made: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: made.append(drawn(plots.shares({"a": np.array([1, 2])})))) for _ in range(3)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(made)) == 1
    assert len(made) == 3


HEADLESS = """
import sys
from hansa import plots
assert "matplotlib" not in sys.modules
import matplotlib
before = matplotlib.rcParams.copy()  # to look at it one by one would load pyplot
plots.lines({"loss": [plots.Line("a", [(0, 1)])]}).savefig(sys.argv[1])
assert matplotlib.rcParams.copy() == before
print("matplotlib.pyplot" in sys.modules)
"""


def test_pyplot_and_its_state_are_left_alone(tmp_path: Any) -> None:
    command = [sys.executable, "-c", HEADLESS, str(tmp_path / "a.png")]
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=False)
    assert (ended.stdout, ended.stderr) == ("False\n", "")


def test_without_matplotlib_the_extra_is_named() -> None:
    code = """
import sys
import numpy as np
sys.modules["matplotlib"] = None
from hansa.plots import Line, images, lines, predictions, shares, table
zero, one = np.zeros((1, 8, 8)), np.ones(1, int)
for draw in (
    lambda: lines({"a": []}),
    lambda: shares({"a": one}),
    lambda: images(zero),
    lambda: predictions(zero, one, one),
    lambda: predictions(zero, zero, zero),
    lambda: table(["a"], [["b"]]),
):
    try:
        draw()
    except ImportError as error:
        print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=120, check=True)
    assert said.stdout.count('pip install "hansa[plot]"') == 6
