"""Pieces of a page: everything that comes from a genome, a file name or a machine is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence


def escaped(value: object) -> str:
    """Escaped, and without the halves of characters that JSON can spell and no file can hold."""
    return html.escape(str(value).encode("utf-8", "replace").decode())


def section(heading: str, body: str) -> str:
    return f"<section><h2>{escaped(heading)}</h2>\n{body}\n</section>\n"


def bullets(items: Iterable[str]) -> str:
    body = "".join(f"<li>{escaped(item)}</li>" for item in items)
    return f"<ul>{body}</ul>" if body else ""


def table(
    headings: Sequence[str], cells: Sequence[Sequence[str]], numbers: Sequence[int] = (), winner: int = -1
) -> str:
    """A table; `numbers` are the columns aligned to the right, `winner` the row that stands out."""

    def line(tag: str, values: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="number">{escaped(value)}</{tag}>'
            if column in numbers
            else f"<{tag}>{escaped(value)}</{tag}>"
            for column, value in enumerate(values)
        )

    body = "".join(
        f'<tr class="winner">{line("td", row)}</tr>\n' if index == winner else f"<tr>{line('td', row)}</tr>\n"
        for index, row in enumerate(cells)
    )
    return (
        f'<div class="wide"><table><thead><tr>{line("th", headings)}</tr></thead><tbody>\n{body}</tbody></table></div>'
    )


def coloured(text: str) -> str:
    """A genome's text as HTML: comments, numbers, and the names that it defines set apart."""
    pattern = re.compile(
        r"(?P<c>\#[^\n]*)|(?P<k>@foundry|\bfn\b|^[A-Za-z_]\w*)|(?P<n>\b\d[\d.]*(?:e[-+]?\d+)?\b)", re.MULTILINE
    )
    out, end = [], 0
    for match in pattern.finditer(text):
        out.append(escaped(text[end : match.start()]))
        out.append(f'<span class="{match.lastgroup}">{escaped(match[0])}</span>')
        end = match.end()
    return "".join(out) + escaped(text[end:])
