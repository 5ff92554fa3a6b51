"""The last edits that were made with a run's model, small, for its page.

    RUN/edits/edits.json       what was asked for in each, the oldest first
    RUN/edits/ID-before.png    the picture, ID-mask.png what of it was to be made anew (white), ID-after.png the results

Pictures are written before the file that names them, each whole; those that are no longer named are removed last.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from noisepath import plots
from noisepath.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FOLDER", "MOST", "Edited", "keep_edits"]

FOLDER, FILE = "edits", "edits.json"
FORMAT = "noisepath edits 1"
MOST = 12
"""Edits that are kept."""
_OURS = re.compile(r"([0-9]{8}T[0-9]{12}-[0-9]+-[0-9]{3})-(before|mask|after)\.png")


@dataclass(frozen=True, eq=False)
class Edited:
    """What is kept of one picture's edit: small pictures (C, H, W) and (N, C, H, W) in [-1, 1], and words."""

    before: Tensor
    after: Tensor
    mask: Tensor | None
    """(1, H, W) in [-1, 1]: white is made anew."""
    name: str
    """What the picture is called."""
    what: str
    """What was done with it, in a few words."""
    said: Mapping[str, Any]
    """What was asked for, by name: plain values or paths, of which the last part is kept."""


def keep_edits(run: str | os.PathLike[str], made: Sequence[Edited], most: int = MOST) -> Path:
    """Add edits to those that a run's folder keeps, of which the newest ``most`` stay.

    Raises:
        OSError: they could not be written; the older ones stand.
    """
    folder = Path(run) / FOLDER
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}"
    kept = _kept(folder / FILE)
    for number, edit in list(enumerate(made))[-most:]:
        key = f"{stamp}-{number:03d}"
        plots.save_grid(edit.before[None], folder / f"{key}-before.png")
        plots.save_grid(edit.after, folder / f"{key}-after.png")
        if edit.mask is not None:
            plots.save_grid(edit.mask[None], folder / f"{key}-mask.png")
        said = {name: _plain(value) for name, value in edit.said.items()}
        kept.append({"id": key, "name": edit.name, "what": edit.what, "results": len(edit.after), "said": said})
    kept = kept[-most:]
    with write_whole(folder / FILE) as part:
        part.write_text(json.dumps({"format": FORMAT, "edits": kept}, indent=1) + "\n", encoding="utf-8")
    _remove_others(folder, {str(edit["id"]) for edit in kept})
    return folder


def _kept(path: Path) -> list[dict[str, Any]]:
    """The edits that are named already; none where the file is missing or damaged."""
    try:
        edits = json.loads(path.read_text(encoding="utf-8"))["edits"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    found = edits if isinstance(edits, list) else []
    return [edit for edit in found if isinstance(edit, dict) and isinstance(edit.get("id"), str)]


def _plain(value: Any) -> Any:
    """As JSON holds it; of a path the last part."""
    if isinstance(value, PurePath):
        return value.name
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _remove_others(folder: Path, kept: set[str]) -> None:
    for path in folder.iterdir():
        found = _OURS.fullmatch(path.name)
        if found and found[1] not in kept:
            path.unlink(missing_ok=True)
