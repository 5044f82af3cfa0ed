"""Pieces of a page. Everything that is not `Html` already is escaped, whatever it holds."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any


class Html(str):
    """Text that is markup."""


def text(value: Any) -> Html:
    """The value as it is to be seen."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def element(tag: str, *content: Any, **attributes: Any) -> Html:
    """<tag attributes>content</tag>; `class_` is the attribute class."""
    given = "".join(f' {name.rstrip("_")}="{html.escape(str(value))}"' for name, value in attributes.items())
    return Html(f"<{tag}{given}>{''.join(map(text, content))}</{tag}>")


def document(title: str, css: str, *content: Any) -> str:
    """A page that needs no network and no script."""
    head = element(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", title),
        element("style", Html(css)),
    )
    body = element("body", element("main", *content))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def section(name: str, title: str, *content: Any) -> Html:
    """A part of the page under a heading; plain strings become paragraphs."""
    return element("section", element("h2", title), *(_block(each) for each in content if each), id=name)


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> Html:
    """Scrolls by itself where it is wider than the page; the first column is of words, the others of figures."""
    titles = element("tr", *(element("th", cell, scope="col") for cell in head))
    lines = (element("tr", *(element("td", cell) for cell in row)) for row in rows)
    inside = element("table", element("thead", titles), element("tbody", *lines))
    return element("div", inside, class_="wide", tabindex="0")


def bar(share: float) -> Html:
    """A share as a bar with its figure."""
    filled = element("span", class_="fill", style=f"width:{100 * share:.1f}%")
    return Html(element("span", filled, class_="bar") + element("span", f"{share:.1%}", class_="share"))


def ms(milliseconds: float) -> str:
    """Three digits that count."""
    return f"{milliseconds:.0f}" if milliseconds >= 99.95 else f"{milliseconds:#.3g}"


def _block(content: Any) -> Html:
    return content if isinstance(content, Html) else element("p", content)
