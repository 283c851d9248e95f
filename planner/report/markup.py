"""HTML and SVG from nested calls: whatever is not markup already is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

_VOID = frozenset({"br", "meta", "line", "rect", "path"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, /, *content: str, **attributes: str | float | None) -> Markup:
    """Return an element.

    Parameters
    ----------
    name
        The tag.
    content
        Children: ``Markup`` as it is, any other text escaped.
    attributes
        Escaped; ``_`` in a name becomes ``-``, a trailing one is dropped (``class_``), None is left out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_attribute(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not content:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{join(content)}</{name}>")


def join(parts: Iterable[str]) -> Markup:
    """Return parts side by side, escaping what is not markup."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def html_table(
    headers: Iterable[str],
    rows: Iterable[Iterable[str]],
    *,
    right: Iterable[int] = (),
    style: str | None = None,
) -> Markup:
    """Return a table that scrolls where it is too wide.

    Parameters
    ----------
    right
        Positions of the columns that hold numbers and are aligned to the right.
    style
        A class of the style sheet; ``dense`` keeps every cell on one line.
    """
    numbers = set(right)

    def line(cells: Iterable[str], tag: str) -> Markup:
        return element(
            "tr",
            *(
                element(tag, cell, class_="number" if position in numbers else None)
                for position, cell in enumerate(cells)
            ),
        )

    body = element("tbody", *(line(row, "td") for row in rows))
    table = element("table", element("thead", line(headers, "th")), body, class_=style)
    return element("div", table, class_="scroll")


def _attribute(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
