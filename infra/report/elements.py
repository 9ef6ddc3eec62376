"""HTML by functions: what is not HTML already is escaped, wherever it came from."""

from collections.abc import Sequence
from html import escape

NUMBERS = frozenset({"runs", "median", "longest", "pools", "games", "USDC", "entries", "score"})  # columns


class Html(str):
    """HTML that is safe to be put into a page."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: str | None) -> Html:
    """An element. A trailing underscore of an attribute is dropped, others are hyphens: `class_`, `aria_label`."""
    text = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{text}>{join(*children)}</{name}>")


def join(*parts: str) -> Html:
    """The parts one after the other."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def section(id_: str, title: str, *parts: Html) -> Html:
    """A part of the page that has a heading."""
    return tag("section", tag("h2", title, id=f"{id_}-title"), *parts, id=id_, aria_labelledby=f"{id_}-title")


def card(*parts: str, title: str | None = None) -> Html:
    """A box."""
    return tag("div", *([tag("h3", title)] if title else []), *parts, class_="card")


def soft(text: str) -> Html:
    """A paragraph in the second place."""
    return tag("p", text, class_="soft")


def figure(title: str, drawing: Html, *below: Html, label: str, numbers: Html) -> Html:
    """A chart, and the table behind it."""
    region = tag("div", numbers, class_="numbers", tabindex="0", role="region", aria_label=label)
    return tag("figure", tag("h3", title), drawing, *below, tag("details", tag("summary", "The numbers"), region),
               class_="card")  # fmt: skip


def table(caption: str, names: Sequence[str], rows: Sequence[Sequence[str]], *, stacks: bool = False) -> Html:
    """A table; on a phone, its rows are stacks of names and values if that is requested."""
    kinds = ["number" if name in NUMBERS else None for name in names]
    head = tag("tr", *(tag("th", name, scope="col", class_=kind) for name, kind in zip(names, kinds, strict=True)))
    body = []
    for row in rows:
        cells = zip(row, names, kinds, strict=True)
        body.append(tag("tr", *(tag("td", cell, class_=kind, data_label=name) for cell, name, kind in cells)))
    return tag(
        "table",
        tag("caption", caption),
        tag("thead", head),
        tag("tbody", *body),
        class_="stacks" if stacks else None,
    )
