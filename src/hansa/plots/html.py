"""Rows under headings as HTML, for a notebook. Whatever they say is escaped: it may have been written by others."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def html_table(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[object]], numbers: Sequence[str] = (), note: str = ""
) -> str:
    """A small table without any script.

    Args:
        title: above it, on one line.
        headings: one a column.
        rows: of as many cells.
        numbers: the headings whose columns are set to the right.
        note: below it.
    """
    align = ["right" if heading in numbers else "left" for heading in headings]
    head = "".join(
        f'<th style="text-align:{side}">{_text(each)}</th>' for side, each in zip(align, headings, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f'<td style="text-align:{side}">{_text(cell)}</td>' for side, cell in zip(align, row, strict=True))
        + "</tr>"
        for row in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if rows else ""
    below = f"<small>{_text(note)}</small>" if note else ""
    return f"<div><b>{_text(title)}</b>{table}{below}</div>"


def _text(value: object) -> str:
    """Escaped; a dollar sign too, which notebooks would take for the beginning of a formula."""
    return escape(str(value)).replace("$", "&#36;")
