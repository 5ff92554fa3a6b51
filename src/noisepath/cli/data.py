"""``noisepath data``: what there is to know of a data set, and a contact sheet of what a network will see."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from noisepath.cli.options import Data
from noisepath.data.config import DataConfig
from noisepath.data.report import lines, look, to_dict
from noisepath.data.sheet import contact_sheet
from noisepath.files import write_whole

__all__ = ["run"]


def run(command: Data) -> None:
    """Decode every picture, tell what was found, write the contact sheet."""
    config = DataConfig(command.path, command.picture_size, command.resize, command.background)
    for path in (command.out, command.json):
        if path is not None:
            _check_place(path, command.path)
    report, data, good = look(config, command.progress)
    contact_sheet(data, good, command.out)
    if command.json is not None:
        with write_whole(command.json) as part:
            part.write_text(json.dumps(to_dict(report), indent=1) + "\n", encoding="utf-8")
    for line in lines(report):
        _say(line)
    _say(f"what a network will see of them is in {command.out}")


def _check_place(path: Path, data: str) -> None:
    """Where a file can be written, and would not be taken for one of the pictures."""
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a folder, but the name of a file to write is needed")
    if os.path.isdir(data) and Path(data).resolve() in path.resolve().parents:
        raise ValueError(f"{str(path)!r} lies in the folder {data!r} itself: say --out for a place outside")
    if path.exists() and os.path.exists(data) and os.path.samefile(path, data):
        raise ValueError(f"{str(path)!r} is the data itself, which is not overwritten")


def _say(line: str) -> None:
    """Print, with escapes for letters that the terminal does not know."""
    letters = sys.stdout.encoding or "utf-8"
    print(line.encode(letters, "backslashreplace").decode(letters))
