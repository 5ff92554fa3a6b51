"""HTML elements as text: whatever is put into one is escaped, unless an element made it.

    element("p", "a < b", class_="note")  ->  <p class="note">a &lt; b</p>
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

__all__ = ["EMPTY", "Html", "element", "join"]

_VOID = {"br", "hr", "img", "input", "link", "meta"}


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


EMPTY = Html("")


def element(name: str, /, *children: str, **attributes: str | int | float | bool | None) -> Html:
    """An element with children and attributes.

    An attribute's name is written with ``-`` for ``_`` and without a ``_`` at its end; True is an attribute without a value,
    False and None are none.
    """
    said = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None and value is not False)
    if name in _VOID:
        return Html(f"<{name}{said}>")
    return Html(f"<{name}{said}>{join(children)}</{name}>")


def join(children: Iterable[str], between: str = "") -> Html:
    """Children one after the other."""
    return Html(between.join(child if isinstance(child, Html) else escape(child) for child in children))


def _attribute(key: str, value: str | int | float | bool) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
