"""The last edits that were made with a run's model, each before and after, from ``edits/edits.json`` and its pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from noisepath.page.board import large
from noisepath.page.elements import EMPTY, Html, element
from noisepath.page.reading import Picture, json_of, picture_of
from noisepath.page.words import plain

__all__ = ["Edit", "edit_pairs", "read_edits"]

MOST = 12
_ID = re.compile(r"[0-9A-Za-z-]{1,80}")


@dataclass(frozen=True)
class Edit:
    """An edit as far as it can be read."""

    before: Picture
    after: Picture
    mask: Picture | None
    name: str
    what: str
    said: str


def read_edits(run: Path) -> tuple[Edit, ...]:
    """The edits in a run's folder, the newest first; those without their pictures are left out."""
    told = json_of(run / "edits" / "edits.json").get("edits")
    found = []
    for entry in reversed(told[-MOST:] if isinstance(told, list) else []):
        key = entry.get("id") if isinstance(entry, Mapping) else None
        if not isinstance(key, str) or not _ID.fullmatch(key):
            continue
        before, after, mask = (picture_of(run, f"edits/{key}-{name}.png") for name in ("before", "after", "mask"))
        if before is not None and after is not None:
            words = [plain(entry.get(name, "")) for name in ("name", "what")]
            found.append(Edit(before, after, mask, words[0], words[1], _said(entry.get("said"))))
    return tuple(found)


def _said(value: object) -> str:
    return ", ".join(f"{name} {plain(part)}" for name, part in value.items()) if isinstance(value, Mapping) else ""


def edit_pairs(edits: tuple[Edit, ...]) -> list[Html]:
    """What the section of the edits holds; nothing where there are none."""
    if not edits:
        return []
    words = "Pictures that were edited with this model, the newest first: before, what was to be made anew, and after."
    return [element("p", words), element("div", *map(_pair, edits), class_="edits")]


def _pair(edit: Edit) -> Html:
    parts = [_part(edit.before, f"{edit.name} before", "before")]
    if edit.mask is not None:
        parts.append(_part(edit.mask, f"The mask of {edit.name}: white is made anew", "mask"))
    parts.append(_part(edit.after, f"{edit.name} after: {edit.what}", "after"))
    caption = element("figcaption", element("b", edit.name), f" {edit.what}", element("br"), element("small", edit.said))
    return element("figure", element("div", *parts, class_="parts"), caption, class_="edit")


def _part(picture: Picture, alt: str, words: str) -> Html:
    return element("span", large(picture, alt), element("small", words)) if picture else EMPTY
