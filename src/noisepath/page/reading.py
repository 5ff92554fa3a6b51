"""Files of a run as far as they can be read: texts, JSON, and the sizes of PNG pictures.  Nothing here raises."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

__all__ = ["Picture", "json_of", "parsed", "picture_of", "text_of"]


@dataclass(frozen=True)
class Picture:
    """A picture of the run; ``url`` is relative to the run folder."""

    url: str
    width: int
    height: int
    step: int = 0


def text_of(path: Path) -> str | None:
    """A file's text; None where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def json_of(path: Path) -> dict[str, Any]:
    """The object in a file; empty if there is none, or it can't be read."""
    value = parsed(text_of(path) or "")
    return value if isinstance(value, dict) else {}


def parsed(text: str) -> object:
    """What a text of JSON holds; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def picture_of(run: Path, name: str, step: int = 0) -> Picture | None:
    """A PNG file of the run with the size that its header says; None where there is none."""
    try:
        with (run / name).open("rb") as file:
            head = file.read(24)
    except OSError:
        return None
    if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", head[16:])
    return Picture(quote(name), width, height, step) if width and height else None
