"""The bar in a terminal, and lines where there is none; nothing that others wrote is obeyed."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from hansa.callbacks import ProgressBar
from hansa.callbacks.progress import transferring
from hansa.core.history import Entry
from hansa.core.metrics import Mean, Metrics


def terminal(width: int = 120) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, force_jupyter=False, width=width, color_system=None, _environ={}
    )


def paper() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=120, _environ={})


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_there_is_a_line_for_every_evaluated_round(
    small: Callable[..., Any], simulated: Any
) -> None:
    console = paper()
    run = simulated(small(2), [ProgressBar(console)])
    run.rounds = 2
    history = run.run()
    accuracies = [f"{value:.4g}" for _, value in history.series("accuracy")]
    lines = shown(console).splitlines()
    assert len(lines) == 4
    for round_, line in enumerate(lines[:3]):
        assert line.startswith(f"blobs  round {round_}/2  loss ")
        assert line.endswith(f"  accuracy {accuracies[round_]}  3 of 3 clients")
    assert lines[-1].startswith("blobs  finished after 2 rounds  loss ")


def test_a_run_that_evaluates_nothing_has_a_line_for_every_ask(small: Callable[..., Any], simulated: Any) -> None:
    console = paper()
    run = simulated(small(2, algorithm=small(2).algorithm.inner), [ProgressBar(console)])
    run.rounds = None
    run.run()
    assert [line.split("  ")[1] for line in shown(console).splitlines()] == [
        "round 1",
        "round 2",
        "finished after 2 rounds",
    ]


def test_in_a_terminal_a_bar_counts_rounds_and_goes_at_the_end(small: Callable[..., Any], simulated: Any) -> None:
    console = terminal()
    run = simulated(small(3), [ProgressBar(console)])
    run.rounds = 3
    run.run()
    text = shown(console)
    assert "/3 rounds" in text
    assert "\x1b[?25l" in text, "the cursor was hidden"
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "and is back"
    assert text.splitlines()[-1].startswith("\x1b[1A\x1b[2Kblobs  finished after 3 rounds"), "in place of the bar"


def test_ctrl_c_leaves_a_clean_terminal(small: Callable[..., Any], simulated: Any) -> None:
    class Interrupted(ProgressBar):
        def entry(self, run: Any, entry: Entry) -> None:
            super().entry(run, entry)
            raise KeyboardInterrupt

    console = terminal()
    with pytest.raises(KeyboardInterrupt):
        simulated(small(3), [Interrupted(console)]).run()
    assert shown(console).rindex("\x1b[?25h") > shown(console).rindex("\x1b[?25l")
    assert "ended: KeyboardInterrupt after 0 rounds" in shown(console)


def test_what_clients_answered_is_shown(small: Callable[..., Any], simulated: Any) -> None:
    console, run = terminal(), simulated(small(1))
    bar = ProgressBar(console)
    bar.started(run)
    bar.answered(3, 10)
    assert bar._bars is not None
    bar._bars.refresh()
    assert "3 of 10 clients" in shown(console)
    bar.ended(run)
    bar.answered(1, 1)  # nobody looks any more


def test_how_much_of_a_transfer_is_done_is_shown_in_a_terminal_only() -> None:
    for console in (terminal(), paper()):
        with transferring("sending [/x]", console) as sent:
            sent(1_500_000, 3_000_000)
        assert ("sending [/x]" in shown(console)) == console.is_terminal
        assert ("1.5/3.0 MB" in shown(console)) == console.is_terminal


@pytest.mark.parametrize("console", [terminal(), paper()], ids=["terminal", "paper"])
def test_names_of_others_are_neither_markup_nor_commands(
    console: Console, small: Callable[..., Any], simulated: Any
) -> None:
    run = simulated(small(1, name="[red]x[/nothing]\x1b]0;title\x07"))
    bar = ProgressBar(console)
    bar.started(run)
    metrics = Metrics({"[bold]m[/b]\x1b[2J": Mean.of(1.0)})
    bar.entry(run, Entry(1, "evaluate", 1, {"model": "federated"}, metrics, {}))
    if bar._bars is not None:
        bar._bars.refresh()
    bar.ended(run)
    assert "[red]x[/nothing]" in shown(console)
    assert "[bold]m[/b]" in shown(console)
    assert "\x1b]0;" not in shown(console)
    assert "\x1b[2J" not in shown(console)
