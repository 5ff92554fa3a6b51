"""``metadata.jsonl``: one JSON object a line that says what a picture is (the ImageFolder convention).

    {"file_name": "cats/1.png", "label": "cat", "text": "a black cat", "camera": "X100"}

``file_name`` is relative to the folder that the file lies in, ``label`` is a class (text, or a whole number), ``text`` (or
``caption``) a caption, and every further column is kept as it is.  An error names the line.
"""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from noisepath.data.decode import SUFFIXES
from noisepath.data.source import plain_path

__all__ = ["Line", "class_order", "read_lines"]


@dataclass(frozen=True)
class Line:
    """What is said of one picture."""

    number: int
    name: str
    label: str | int | None
    caption: str
    attributes: dict[str, object] = field(default_factory=dict)


def read_lines(content: bytes, where: str, pictures: Container[str]) -> list[Line]:
    """The lines of a metadata file; ``where`` is its name for errors, ``pictures`` the names that it may speak of.

    Raises:
        ValueError: a line that is not what it should be, by number; labels for some lines only, or of two kinds.
    """
    lines: list[Line] = []
    first: dict[str, int] = {}
    for number, text in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if text.strip():
            try:
                line = _line(number, _object(text), pictures)
                if (earlier := first.setdefault(line.name, number)) != number:
                    raise ValueError(f"{line.name!r} is named in line {earlier} already")
            except ValueError as error:
                raise ValueError(f"{where!r} line {number}: {error}") from None
            lines.append(line)
    if not lines:
        raise ValueError(f"{where!r} has no lines")
    _check_labels(lines, where)
    return lines


def _object(text: bytes) -> dict[str, Any]:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(items)) < len(items):
            raise ValueError("a name stands twice in one object")
        return found

    def no_number(word: str) -> Any:
        raise ValueError(f"{word} is no JSON")

    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=pairs, parse_constant=no_number)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("not JSON that can be read: too many brackets inside each other") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object, {...}")
    return value


def _line(number: int, values: dict[str, Any], pictures: Container[str]) -> Line:
    given = values.pop("file_name", None)
    if given is None:
        raise ValueError("no file_name, the name of a picture")
    if not isinstance(given, str):
        raise ValueError(f"file_name must be text, but is {given!r}")
    label = values.pop("label", None)
    if isinstance(label, bool) or not isinstance(label, str | int | None):
        raise ValueError(f"label must be text or a whole number, but is {label!r}")
    caption = values.pop("text") if "text" in values else values.pop("caption", None)
    if not isinstance(caption, str | None):
        raise ValueError(f"a caption must be text, but is {caption!r}")
    if any("\ud800" <= c <= "\udfff" for c in f"{label}{caption}"):
        raise ValueError("its text holds half a character (a lone surrogate)")
    return Line(number, _known(given, pictures), label, caption or "", values)


def _known(given: str, pictures: Container[str]) -> str:
    """The name as the source has it."""
    name = plain_path(given)
    if name is None:
        raise ValueError(f"file_name {given!r} is no plain path inside the folder")
    if name not in pictures:
        suffix = "." + name.rpartition(".")[2].lower()
        known = suffix in SUFFIXES
        raise ValueError(
            f"there is no picture {given!r}" + ("" if known else f" (pictures end in {', '.join(sorted(SUFFIXES))})")
        )
    return name


def _check_labels(lines: list[Line], where: str) -> None:
    kinds = {type(line.label): line for line in reversed(lines)}  # the first line of each kind
    if len(kinds) == 1:
        return
    if (without := kinds.get(type(None))) is not None:
        line = next(line for kind, line in kinds.items() if kind is not type(None))
        raise ValueError(f"{where!r} line {without.number} has no label, but line {line.number} has one ({line.label!r})")
    said = " and ".join(f"{line.label!r} in line {line.number}" for line in reversed(kinds.values()))
    raise ValueError(f"{where!r}: labels must be all text or all whole numbers, but there are {said}")


def class_order(labels: set[str | int]) -> list[str | int]:
    """Classes in their order: numbers by their size, also where they are written as text; other text by its bytes."""
    if all(isinstance(label, int) or (label.isascii() and label.isdigit() and len(label) < 20) for label in labels):
        return sorted(labels, key=lambda label: (int(label), str(label)))
    return sorted(labels, key=lambda label: str(label).encode("utf-8", "surrogatepass"))
