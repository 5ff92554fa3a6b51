"""What other libraries' samplers reach on the ideal problems: their kept figures, who is best, and errors start by start.

A folder holds PROBLEM.json, two figures for each configuration and number of calls, and PROBLEM.npz, the error of each start
for those that matter: the shipped ones, the best in each cell, and the best single ones, of the problem and of all problems.
A single configuration is ranked by the geometric mean of both figures over all numbers of calls.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from noisepath.files import write_whole

FOLDER = Path(__file__).parent / "peers_quality"
MEASURES = ("RMSE", "median")
SINGLES = 5
Cell = tuple[float, float] | None
"""RMSE and median over the starts; None where there is no run, or none that is finite."""


@dataclass(frozen=True)
class Row:
    """One configuration."""

    library: str
    shipped: bool
    cells: dict[int, Cell]

    @property
    def mean(self) -> float:
        return geometric(self.cells.values())


@dataclass(frozen=True)
class Kept:
    """All configurations on one problem."""

    problem: str
    starts: int
    mark: str
    calls: list[int]
    apart: float
    versions: dict[str, str]
    rows: dict[str, Row] = field(default_factory=dict)

    def same_terms(self, other: Kept) -> bool:
        """Do the two speak of the same starts, calls and versions?"""
        return self._terms() == other._terms()

    def _terms(self) -> tuple[object, ...]:
        return self.problem, self.starts, self.mark, self.calls, self.versions

    def best(self, calls: int, measure: int) -> tuple[float, str]:
        """In one cell: the figure, and whose it is."""
        found = [(row.cells[calls], name) for name, row in self.rows.items()]
        return min((cell[measure], name) for cell, name in found if cell is not None)

    def line(self) -> dict[int, Cell]:
        """The best in each cell, chosen afterwards."""
        return {calls: (self.best(calls, 0)[0], self.best(calls, 1)[0]) for calls in self.calls}

    def shipped(self) -> list[str]:
        return [name for name, row in self.rows.items() if row.shipped]


def geometric(cells: Iterable[Cell]) -> float:
    """The geometric mean of all figures; infinite where one is missing."""
    figures = [figure for cell in cells for figure in (cell or (math.inf, math.inf))]
    return math.exp(math.fsum(map(math.log, figures)) / len(figures))


def singles(problems: Sequence[Kept]) -> list[tuple[float, str]]:
    """Configurations by their mean over these problems, the best first; those with a gap are left out."""
    names = set.intersection(*(set(kept.rows) for kept in problems))
    means = [(geometric(cell for kept in problems for cell in kept.rows[name].cells.values()), name) for name in names]
    return sorted(pair for pair in means if math.isfinite(pair[0]))


def matter(kept: Kept, problems: Sequence[Kept]) -> dict[str, list[int]]:
    """Whose errors are kept start by start, and for which numbers of calls."""
    whole = kept.shipped() + [name for group in ([kept], problems) for _, name in singles(group)[:SINGLES]]
    wanted = {(name, calls) for name in whole for calls in kept.calls}
    wanted |= {(kept.best(calls, measure)[1], calls) for calls in kept.calls for measure in range(len(MEASURES))}
    found: dict[str, list[int]] = {}
    for name, calls in sorted(wanted):
        if kept.rows[name].cells[calls] is not None:
            found.setdefault(name, []).append(calls)
    return found


# Files -------------------------------------------------------------------------------------------------------------------


def read(path: Path) -> Kept:
    told = json.loads(path.read_text(encoding="utf-8"))
    results = told.pop("results")
    return Kept(**told, rows={name: Row(row["library"], row["shipped"], _cells(row)) for name, row in results.items()})


def read_all(folder: Path = FOLDER) -> dict[str, Kept]:
    found = [read(path) for path in sorted(folder.glob("*.json"))]
    return {kept.problem: kept for kept in found}


def _cells(row: dict[str, Any]) -> dict[int, Cell]:
    return {int(calls): None if cell is None else (cell[0], cell[1]) for calls, cell in row["cells"].items()}


def write(kept: Kept, folder: Path = FOLDER) -> None:
    """With a line for each configuration."""
    head = {"problem": kept.problem, "starts": kept.starts, "mark": kept.mark, "calls": kept.calls, "apart": kept.apart}
    lines = [f"{json.dumps(name)}: {json.dumps(_told(row))}" for name, row in kept.rows.items()]
    text = json.dumps({**head, "versions": kept.versions})[:-1] + ',\n"results": {\n' + ",\n".join(lines) + "\n}}\n"
    with write_whole(folder / f"{kept.problem}.json") as part:
        part.write_text(text, encoding="utf-8")


def _told(row: Row) -> dict[str, Any]:
    cells = {calls: None if cell is None else [float(f"{figure:.6g}") for figure in cell] for calls, cell in row.cells.items()}
    return {"library": row.library, "shipped": row.shipped, "cells": cells}


def read_errors(problem: str, folder: Path = FOLDER) -> dict[tuple[str, int], Any]:
    """(name, calls) -> the error of each start, float32 (n,)."""
    path = folder / f"{problem}.npz"
    if not path.is_file():
        return {}
    with np.load(path) as file:
        return {(key.rpartition("@")[0], int(key.rpartition("@")[2])): file[key] for key in file.files}


def write_errors(problem: str, errors: dict[tuple[str, int], Any], folder: Path = FOLDER) -> None:
    arrays: dict[str, Any] = {f"{name}@{calls}": found.astype(np.float32) for (name, calls), found in errors.items()}
    with write_whole(folder / f"{problem}.npz") as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)
