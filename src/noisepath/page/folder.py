"""What a run folder holds, read from disk as far as it is there: any part may be missing, unfinished or damaged."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisepath.page.board import Board, read_board
from noisepath.page.edits import Edit, read_edits
from noisepath.page.evaluation import grids
from noisepath.page.reading import Picture, json_of, parsed, picture_of, text_of
from noisepath.page.words import number

__all__ = ["Line", "Picture", "Run", "read"]


@dataclass(frozen=True)
class Line:
    """A line of the log: after ``step``, what was measured (finite numbers only)."""

    step: int
    values: dict[str, float]


@dataclass(frozen=True)
class Run:
    """Everything that a page is made of."""

    path: Path
    plan: dict[str, Any]
    log: tuple[Line, ...]
    damaged: int
    """Lines of the log that could not be read."""
    settings: str | None
    data: str | None
    """What the settings name as the run's data."""
    checkpoints: tuple[int, ...]
    samples: tuple[Picture, ...]
    loss: Picture | None
    limit: Picture | None
    report: dict[str, Any]
    by_level: Picture | None
    neighbours: Picture | None
    judged: tuple[tuple[Picture, str], ...]
    """Grids of the samples that were judged, and which samples they are."""
    board: Board | None
    edits: tuple[Edit, ...]
    """The newest first."""

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.resolve().name or str(self.path)

    @property
    def done(self) -> int:
        """The last step that the folder knows of."""
        return max([line.step for line in self.log[-1:]] + [picture.step for picture in self.samples[-1:]] + [0])

    @property
    def steps(self) -> int | None:
        """How many steps the run is to have."""
        planned = number(self.plan.get("steps"))
        return None if planned is None or planned < 1 else int(planned)


def read(path: Path) -> Run:
    """Read the run in a folder."""
    log, damaged = _log(path / "log.jsonl")
    settings = text_of(path / "run.toml")
    report = json_of(path / "evaluation" / "report.json")
    return Run(
        path=path,
        plan=json_of(path / "plan.json"),
        log=log,
        damaged=damaged,
        settings=settings,
        data=_data(settings),
        checkpoints=tuple(sorted(_numbered(path / "checkpoints", r"step-([0-9]+)"))),
        samples=_samples(path),
        loss=picture_of(path, "loss.png"),
        limit=picture_of(path, "limit.png"),
        report=report,
        by_level=picture_of(path, "evaluation/loss_by_level.png"),
        neighbours=picture_of(path, "evaluation/neighbours.png"),
        judged=_judged(path, report),
        board=read_board(path),
        edits=read_edits(path),
    )


def _log(path: Path) -> tuple[tuple[Line, ...], int]:
    """The readable lines in order of their steps (of two for one step the later), and how many are not readable."""
    lines: dict[int, Line] = {}
    damaged = 0
    for text in (text_of(path) or "").splitlines():
        if not text.strip():
            continue
        value = parsed(text)
        step = number(value.get("step")) if isinstance(value, dict) else None
        if step is None or not isinstance(value, dict):
            damaged += 1
            continue
        known = {str(name): number(measured) for name, measured in value.items()}
        lines[int(step)] = Line(int(step), {name: measured for name, measured in known.items() if measured is not None})
    return tuple(lines[step] for step in sorted(lines)), damaged


def _data(settings: str | None) -> str | None:
    try:
        tables = tomllib.loads(settings or "")
    except (ValueError, RecursionError):
        return None
    data = tables.get("data")
    return str(data["data"]) if isinstance(data, dict) and "data" in data else None


def _numbered(folder: Path, pattern: str) -> Iterator[int]:
    """The numbers in the names of a folder's entries."""
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return
    for name in names:
        if found := re.fullmatch(pattern, name):
            yield int(found[1])


def _samples(run: Path) -> tuple[Picture, ...]:
    found = []
    for step in sorted(set(_numbered(run / "samples", r"([0-9]{6,})\.png"))):
        if picture := picture_of(run, f"samples/{step:06d}.png", step):
            found.append(picture)
    return tuple(found)


def _judged(run: Path, report: dict[str, Any]) -> tuple[tuple[Picture, str], ...]:
    """The grids that a report names, or the one of the usual name."""
    named = dict(grids(report)) or {"grid.png": "in their classes"}
    found = [(picture_of(run, f"evaluation/{name}"), words) for name, words in named.items()]
    return tuple((picture, words) for picture, words in found if picture is not None)
